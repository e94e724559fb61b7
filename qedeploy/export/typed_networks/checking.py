"""Proof that a written network computes its plan: every planned layer again, in PyTorch, from what the runtime read.

The simulation is the one that exports of our own networks are held to (qdq/simulation.py): float64 over exact integers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from qedeploy.export.onnx_networks.calibration import exposing
from qedeploy.export.onnx_networks.fused import PlanError
from qedeploy.export.typed_networks.layers import TypedLayer
from qedeploy.export.typed_networks.quantizer import TypedQuantizer
from qedeploy.export.typed_networks.symmetric import IntegerWeights, SymmetricGrid
from qedeploy.export.typed_networks.writer import TypedModel
from qedeploy.network.layers import LayerKind
from qedeploy.network.operations import Operation, OperationKind
from qedeploy.qdq import simulation
from qedeploy.qdq.dialect import EXACT, Rounding
from qedeploy.qdq.fold import FoldedLayer
from qedeploy.runtimes.registry import reference
from qedeploy.runtimes.turns import Feed

_FLOAT_TOLERANCE = 1e-4
"""Error of a float32 result as a share of its largest number that is rounding and nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedCheck:
    """What was held to the plan: of the `integers` that layers and shortcuts read, `differing` are one step off.

    `largest` is the error of the `layers`' results, as a share of the largest number of each, at the worst layer.
    """

    layers: int
    integers: int
    differing: int
    largest: float
    worst: str


def check_typed(quantizer: TypedQuantizer, written: TypedModel, feeds: Sequence[Feed], *, half: bool) -> TypedCheck:
    """Return what was checked of `written` on `feeds`, in float16 where `half`, else in float32.

    Raises PlanError naming the layer or value that is not as planned.
    """
    typed = quantizer.typed
    rounding, tolerance = (typed.rounding, typed.float_tolerance) if half else (EXACT, _FLOAT_TOLERANCE)
    model = quantizer.in_half(written.model) if half else written.model
    run = _Run(model, written, half=half)
    integers = differing = 0
    largest: dict[str, float] = dict.fromkeys(written.layers, 0.0)
    for feed in feeds:
        values = run.values(feed)
        for value, grid in written.grids.items():
            count, wrong = _compare(value, grid, values[value], values[written.integers[value]], rounding)
            integers, differing = integers + count, differing + wrong
        for name, layer in written.layers.items():
            error = _layer_error(layer, written, values)
            largest[name] = max(largest[name], error)
            if not error <= tolerance:
                raise PlanError(
                    f"{name}: its result is off by {error:.1e} of its largest number, {tolerance:.1e} is rounding"
                    + (": more than float16 holds? --keep leaves a layer in float16" if half else "")
                )
    worst = max(largest, key=largest.__getitem__, default="")
    return TypedCheck(
        layers=len(written.layers),
        integers=integers,
        differing=differing,
        largest=largest.get(worst, 0.0),
        worst=worst,
    )


class _Run:
    """Runs a model literally, with exact products, and returns what is compared."""

    def __init__(self, model: onnx.ModelProto, written: TypedModel, *, half: bool) -> None:
        self._half = half
        inputs = {item.name for item in model.graph.input}
        results = {layer.node.output[0] for layer in written.layers.values()}
        reals = {*written.grids, *(layer.found.source for layer in written.layers.values()), *results}
        wanted = sorted((reals - inputs) | set(written.integers.values()))
        self._evaluate = reference().exact(exposing(model, wanted).SerializeToString(), False)

    def values(self, feed: Feed) -> Mapping[str, NDArray[Any]]:
        """Return inputs and values by name; inputs as the graph's type holds them."""
        read = {name: array.astype(np.float16) if self._half else array for name, array in feed.items()}
        return read | self._evaluate(feed)


def _compare(
    name: str, grid: SymmetricGrid, value: NDArray[Any], found: NDArray[Any], rounding: Rounding
) -> tuple[int, int]:
    expected = np.clip(np.rint(value.astype(np.float64) / grid.scale), -128, 127)
    steps = np.abs(expected - found)
    differing = int(np.count_nonzero(steps))
    if steps.max(initial=0) > 1 or differing > max(1, rounding.share * steps.size):
        raise PlanError(
            f"{name}: its integers differ from the plan by up to {steps.max():g} steps in {differing} of {steps.size}"
        )
    return steps.size, differing


def _layer_error(layer: TypedLayer, written: TypedModel, values: Mapping[str, NDArray[Any]]) -> float:
    """Return how far the layer's result is off, as a share of its largest number."""
    found = values[layer.node.output[0]].astype(np.float64)
    reading = _reading(layer, written, values)
    kind = OperationKind.LINEAR if layer.layer.kind is LayerKind.LINEAR else OperationKind.CONVOLUTION
    step = Operation(
        name=layer.name,
        kind=kind,
        inputs=(layer.found.source,),
        input=layer.layer.input,
        output=layer.layer.output,
        layer=layer.layer,
    )
    expected = simulation.execute(step, [reading], _folded(layer, written.weights[layer.name])).numpy()
    largest = float(np.abs(expected).max(initial=0.0)) or 1.0
    error = float(np.abs(expected.reshape(found.shape) - found).max(initial=0.0)) / largest
    return error if np.isfinite(error) else np.inf


def _reading(layer: TypedLayer, written: TypedModel, values: Mapping[str, NDArray[Any]]) -> simulation.Reading:
    source = layer.found.source
    linear = layer.layer.kind is LayerKind.LINEAR
    integers = layer.name in written.weights and written.weights[layer.name].scale.ndim == 1
    numbers = values[written.integers[source]].astype(np.float32) if integers else values[source].astype(np.float64)
    # A matrix product takes every row as an image of its own.
    tensor = torch.from_numpy(numbers.reshape(-1, layer.layer.in_channels) if linear else numbers)
    return simulation.Reading(numbers=tensor, step=written.grids[source].scale if integers else 1.0)


def _folded(layer: TypedLayer, weights: IntegerWeights) -> FoldedLayer:
    bias = np.zeros(layer.found.channels) if layer.found.bias is None else layer.found.bias.astype(np.float64)
    if weights.scale.ndim == 1:
        held = weights.integers if layer.found.operator == "Conv" or layer.found.axis == 0 else weights.integers.T
        return FoldedLayer(weight=held, scale=weights.scale.astype(np.float32), bias=bias)
    rows = np.repeat(weights.scale, weights.integers.shape[0] // weights.scale.shape[0], axis=0)
    matrix = (weights.integers * rows).astype(np.float32).T
    return FoldedLayer(weight=matrix.reshape(layer.layer.weight_shape), scale=None, bias=bias)
