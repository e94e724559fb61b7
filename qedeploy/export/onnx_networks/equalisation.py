"""Weights rescaled between two convolutions so that the channels between them fill one grid alike.

What a convolution makes, and a ReLU lets through, may be divided by a factor of its own in each channel where the next
convolution's weights are multiplied by it (Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias
Correction", 2019, section 4.1). Behind a depthwise convolution's scales per channel that costs nothing; a dense one
holds channels of all factors in one scale, so that range and weights meet halfway. Factors are powers of two: the
float network computes the same numbers, bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from qedeploy.export.onnx_networks.calibration import exposing
from qedeploy.export.onnx_networks.editor import GraphEditor
from qedeploy.export.onnx_networks.integer_layers import IntegerLayer, integer_layers
from qedeploy.runtimes.registry import reference
from qedeploy.runtimes.turns import Feed

_MOST = 32.0
"""Largest factor between two channels: what is quieter still is next to nothing."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Equalised:
    """A float network that computes the same, and the layers, by name, before and behind each value rescaled."""

    model: onnx.ModelProto
    pairs: tuple[tuple[str, str], ...]


def equalise(model: onnx.ModelProto, feeds: Sequence[Feed]) -> Equalised:
    """Return the prepared `model` with channels rescaled by their largest numbers on `feeds` where it can be."""
    editor = GraphEditor(model)
    pairs = _pairs(editor)
    ranges = _ranges(model, [first.result for first, _ in pairs], feeds)
    weights: dict[str, NDArray[np.float32]] = {}
    kept = []
    for first, second in pairs:
        factors = _factors(ranges[first.result], second)
        if (factors == 1).all():
            continue
        kept.append((first.name, second.name))
        for name, shape, scale in _rescaled(editor, first, second, factors):
            before = weights[name] if name in weights else np.asarray(editor.constant(name), np.float32)
            weights[name] = np.asarray(before * scale.reshape(shape), np.float32)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for item in copy.graph.initializer:
        if item.name in weights:
            item.CopyFrom(numpy_helper.from_array(weights[item.name], item.name))
    return Equalised(model=copy, pairs=tuple(kept))


def _pairs(editor: GraphEditor) -> list[tuple[IntegerLayer, IntegerLayer]]:
    """Return convolutions of which only the second reads what the first makes, straight or behind a ReLU."""
    layers = {layer.name: layer for layer in integer_layers(editor) if layer.operator == "Conv"}
    # Weights that another node reads too cannot be rescaled for one of them.
    shared = {
        node.name
        for node in editor.nodes
        if any(constant and len(editor.consumers(constant)) > 1 for constant in node.input[1:])
    }
    found = []
    for first in layers.values():
        reader = editor.sole_consumer(first.result)
        second = None if reader is None else layers.get(reader.name)
        if second is None or first.ceiling is not None or shared & {first.name, second.name}:
            continue
        if second.use.layer.groups == 1 or _is_depthwise(second):
            found.append((first, second))
    return found


def _is_depthwise(layer: IntegerLayer) -> bool:
    return layer.weight.shape[1] == 1 and layer.use.layer.groups == layer.channels > 1


def _ranges(model: onnx.ModelProto, values: Sequence[str], feeds: Sequence[Feed]) -> Mapping[str, NDArray[np.float64]]:
    """Return the largest magnitude of each channel, (channels,), of `values`."""
    if not values:
        return {}
    evaluate = reference().evaluator(exposing(model, values).SerializeToString(), False)
    found: dict[str, NDArray[np.float64]] = {}
    for feed in feeds:
        outputs = evaluate(feed)
        for name in values:
            largest = np.abs(outputs[name]).max(axis=(0, 2, 3)).astype(np.float64)
            found[name] = np.maximum(found.get(name, largest), largest)
    return found


def _factors(ranges: NDArray[np.float64], second: IntegerLayer) -> NDArray[np.float64]:
    """Return what each channel is divided by: powers of two, 1 for the widest and for channels that say nothing."""
    wanted = ranges.copy()
    if not _is_depthwise(second):
        weights = np.abs(second.weight.astype(np.float64)).max(axis=(0, 2, 3))
        wanted = np.sqrt(np.divide(ranges, weights, out=np.zeros_like(ranges), where=weights > 0))
    live = wanted > 0
    if not live.any():
        return np.ones_like(ranges)
    shares = np.where(live, np.maximum(wanted / wanted.max(), 1 / _MOST), 1.0)
    return np.asarray(np.exp2(np.rint(np.log2(shares))), np.float64)


def _rescaled(
    editor: GraphEditor, first: IntegerLayer, second: IntegerLayer, factors: NDArray[np.float64]
) -> list[tuple[str, tuple[int, ...], NDArray[np.float64]]]:
    """Return the constants to multiply: name, shape that the factors take there, and factors."""
    nodes = {node.name: node for node in editor.nodes}
    before, behind = nodes[first.name], nodes[second.name]
    changed: list[tuple[str, tuple[int, ...], NDArray[np.float64]]] = [(before.input[1], (-1, 1, 1, 1), 1 / factors)]
    if first.bias is not None:
        changed.append((before.input[2], (-1,), 1 / factors))
    shape = (-1, 1, 1, 1) if _is_depthwise(second) else (1, -1, 1, 1)
    return [*changed, (behind.input[1], shape, factors)]
