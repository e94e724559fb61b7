"""The parts of a network as a latency table knows them."""

from __future__ import annotations

import math

from qedeploy.errors import RequestError
from qedeploy.latency.table import Part, Shape
from qedeploy.network.graph import Graph
from qedeploy.network.layers import Dimensions, Layer, Position
from qedeploy.network.operations import OperationKind
from qedeploy.network.padding import padded_channels, padded_widths
from qedeploy.network.shortcuts import Shortcut, shortcuts


def shapes_of(graph: Graph, bottleneck_multiple: int) -> dict[str, Shape]:
    """Return the shape of every part by its name: a layer's, or that of a shortcut (`<block>.shortcut`).

    Channels between the layers of a block are padded to `bottleneck_multiple`, as the table's dialect pads them.
    Sizes that are not square stand as the square of as many pixels. Raises RequestError naming a layer of a kind that
    tables do not have.
    """
    channels = padded_channels(graph, padded_widths(graph, bottleneck_multiple))
    added = {cut.addition.name: cut for cut in shortcuts(graph)}
    makers = graph.makers()
    found: dict[str, Shape] = {}
    for step in graph.operations:
        if step.name in added:
            cut = added[step.name]
            found[cut.name] = _shortcut_shape(cut)
        if step.layer is None:
            continue
        source = makers.get(step.inputs[0])
        pooled = source is not None and source.kind is OperationKind.GLOBAL_AVERAGE_POOL
        read = source.input if source is not None and pooled else step.input
        found[step.name] = _layer_shape(step.layer, channels[step.name], read)
    return found


def _layer_shape(layer: Layer, channels: tuple[int, int], read: Dimensions) -> Shape:
    if layer.category.value not in set(Part):
        raise RequestError(f"{layer.name}: latency tables have no {layer.category} layers, which no search space has")
    kernel, stride = (_one(layer, pair) for pair in (layer.window.kernel, layer.window.stride))
    return Shape(
        part=Part(layer.category.value),
        in_channels=channels[0],
        out_channels=channels[1],
        kernel=kernel,
        stride=stride,
        size=_side(read if layer.position is Position.CLASSIFIER else layer.input),
        bits=layer.bits,
    )


def _shortcut_shape(cut: Shortcut) -> Shape:
    channels = cut.addition.output[0]
    return Shape(
        part=Part.SHORTCUT,
        in_channels=channels,
        out_channels=channels,
        kernel=1,
        stride=1 if cut.pool is None else 2,
        size=_side(cut.addition.output),
        bits=cut.layer.bits,
    )


def _side(sizes: Dimensions) -> int:
    return max(1, round(math.sqrt(math.prod(sizes[1:]))))


def _one(layer: Layer, pair: tuple[int, int]) -> int:
    if pair[0] != pair[1]:
        raise RequestError(f"{layer.name}: latency tables know square kernels and strides, found {pair[0]}x{pair[1]}")
    return pair[0]
