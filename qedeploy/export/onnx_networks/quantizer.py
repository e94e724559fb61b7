"""A prepared network with its calibrated grids: written with any of its layers in integers, and what may not be so."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from numpy.typing import NDArray

from qedeploy.errors import RequestError
from qedeploy.export.onnx_networks.bias_correction import input_means, moved_means
from qedeploy.export.onnx_networks.calibration import ValueStatistics, choose_grid, observe
from qedeploy.export.onnx_networks.editor import GraphEditor
from qedeploy.export.onnx_networks.grids import ValueGrid
from qedeploy.export.onnx_networks.integer_layers import IntegerLayer, grid_roots, integer_layers
from qedeploy.export.onnx_networks.methods import CalibrationMethod
from qedeploy.export.onnx_networks.quantized_graph import CARRIED, QuantizedModel, quantize_graph
from qedeploy.export.onnx_networks.regridding import IntegerReading, regrid
from qedeploy.runtimes.turns import Feed

WEIGHT_LIMITS = {"W8A8": 127, "W7A8": 63}
"""Largest weight of each integer precision; both have activations of 8 bits."""

RANGE_RATIO = 8.0
"""How many times a branch's own range a scale that it shares may cover: more leaves it under 5 of 8 bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TiedRange:
    """A concatenation whose branches share one scale: the range of each, and of all of them."""

    value: str
    branches: Mapping[str, float]
    shared: float

    @property
    def worst(self) -> tuple[str, float]:
        """Return the branch that gets least of the shared scale, and how many times its own range that covers."""
        name = min(self.branches, key=lambda branch: self.branches[branch])
        return name, self.shared / self.branches[name] if self.branches[name] else float("inf")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Quantizer:
    """Writes `model` with layers in integers. `refused` says of layers that must stay in float32 why that is so.

    `moved` is what rounding moves the means of a layer's results by, (channels,), where the bias takes that back: by
    layer and precision.
    """

    model: onnx.ModelProto
    editor: GraphEditor
    layers: Mapping[str, IntegerLayer]
    grids: Mapping[str, ValueGrid]
    readings: Mapping[str, IntegerReading]
    tied: tuple[TiedRange, ...]
    refused: Mapping[str, str]
    moved: Mapping[tuple[str, str], NDArray[np.float64]] = field(default_factory=dict)

    def write(self, precisions: Mapping[str, str]) -> QuantizedModel:
        """Return the network with the layers in `precisions` that have an integer precision in integers."""
        limits = {name: WEIGHT_LIMITS[item] for name, item in precisions.items() if item in WEIGHT_LIMITS}
        chosen = {name: self._corrected(name, precisions[name]) for name in limits}
        return quantize_graph(self.model, self.editor, chosen, limits, self.grids, self.readings)

    def with_corrected_biases(self, feeds: Sequence[Feed], precisions: Sequence[str]) -> Quantizer:
        """Return the quantizer whose biases take back what rounding to `precisions` moves on `feeds`."""
        # The kernel of a MatMul takes no bias.
        layers = {name: layer for name, layer in self.layers.items() if layer.operator != "MatMul"}
        means = input_means(self.model, layers, self.grids, feeds)
        moved = {
            (name, item): moved_means(layer, self.grids[layer.source], WEIGHT_LIMITS[item], means[name])
            for name, layer in layers.items()
            for item in precisions
            if item in WEIGHT_LIMITS
        }
        return dataclasses.replace(self, moved=moved)

    def _corrected(self, name: str, precision: str) -> IntegerLayer:
        layer, moved = self.layers[name], self.moved.get((name, precision))
        if moved is None:
            return layer
        bias = -moved if layer.bias is None else layer.bias - moved
        return dataclasses.replace(layer, bias=bias.astype(np.float32))


def make_quantizer(
    model: onnx.ModelProto,
    feeds: Sequence[Feed],
    method: CalibrationMethod = CalibrationMethod.MSE,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Quantizer:
    """Return a quantizer of the prepared `model`, its grids chosen by what it makes of `feeds`.

    Raises RequestError where the network has no layer that could be in integers.
    """
    editor = GraphEditor(model)
    layers = {layer.name: layer for layer in integer_layers(editor)}
    if not layers:
        raise RequestError("no layer of the network could be in integers: it stays in float32")
    roots = grid_roots(editor)
    values = {value for layer in layers.values() for value in (layer.source, layer.result)}
    for node in editor.nodes:
        if node.op_type in CARRIED:
            values |= {value for value in (*editor.computed_inputs(node), *node.output) if editor.is_float(value)}
    seen = observe(model, sorted({roots.get(value, value) for value in values}), feeds, progress)
    ceilings = {layer.result: layer.ceiling for layer in layers.values()}
    chosen = {root: choose_grid(statistics, method, ceilings.get(root)) for root, statistics in seen.items()}
    tied = tied_ranges(editor, roots, seen)
    adjusted, readings = regrid(editor, {root: grid for root, grid in chosen.items() if root in values})
    chosen |= adjusted
    return Quantizer(
        model=model,
        editor=editor,
        layers=layers,
        grids={value: chosen[roots.get(value, value)] for value in values},
        readings=readings,
        tied=tied,
        refused=refused_layers(layers, roots, tied),
    )


def tied_ranges(
    editor: GraphEditor, roots: Mapping[str, str], seen: Mapping[str, ValueStatistics]
) -> tuple[TiedRange, ...]:
    """Return the concatenations of several values, with what was seen of each."""
    found = []
    for node in editor.nodes:
        if node.op_type != "Concat" or node.output[0] not in seen:
            continue
        branches = {value: _range(seen[roots.get(value, value)]) for value in editor.computed_inputs(node)
                    if roots.get(value, value) in seen}  # fmt: skip
        if len(branches) > 1:
            found.append(TiedRange(value=node.output[0], branches=branches, shared=_range(seen[node.output[0]])))
    return tuple(found)


def refused_layers(
    layers: Mapping[str, IntegerLayer], roots: Mapping[str, str], tied: Sequence[TiedRange]
) -> dict[str, str]:
    """Return layers that read a scale in which one branch would drown, and why."""
    uneven = {item.value: item for item in tied if item.worst[1] >= RANGE_RATIO}
    found = {}
    for name, layer in layers.items():
        item = uneven.get(roots.get(layer.source, layer.source))
        if item is not None:
            branch, ratio = item.worst
            found[name] = (
                f"reads {item.value}, whose branches would share one scale: that covers {ratio:.0f} times the range of "
                f"{branch}"
            )
    return found


def _range(seen: ValueStatistics) -> float:
    return max(seen.high, 0.0) - min(seen.low, 0.0)
