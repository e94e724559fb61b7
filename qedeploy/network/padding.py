"""Which layers' channels can be filled up to what a kernel is fast at without touching any other layer's."""

from __future__ import annotations

from collections.abc import Mapping

from qedeploy.network.graph import Graph
from qedeploy.network.layers import Layer, LayerKind, round_up
from qedeploy.network.operations import Operation

_DENSE = {LayerKind.POINTWISE, LayerKind.CONVOLUTION}


def inner_layers(graph: Graph) -> frozenset[str]:
    """Return the layers whose output can grow while nothing but the neighbours' weights follows.

    They are what goes in and out of depthwise convolutions between two dense ones of the same block, where nothing else
    reads it.
    """
    makers, readers = graph.makers(), _sole_readers(graph)
    found: list[str] = []
    for step in graph.operations:
        layer, before, after = step.layer, makers.get(step.inputs[0]), readers.get(step.name)
        if layer is None or before is None or after is None or before.name not in readers:
            continue
        inner = layer.kind is LayerKind.DEPTHWISE and layer.out_channels == layer.in_channels
        if inner and _dense(before, layer) and _dense(after, layer):
            found += [before.name, layer.name]
    return frozenset(found)


def padded_widths(graph: Graph, multiple: int) -> dict[str, int]:
    """Return for each inner layer whose channels are no whole `multiple` the number that they grow to."""
    inner = inner_layers(graph)
    return {
        layer.name: round_up(layer.out_channels, multiple)
        for layer in graph.layers
        if layer.name in inner and layer.out_channels % multiple
    }


def padded_channels(graph: Graph, widths: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """Return for each layer the channels that it reads and makes where those of `widths` have grown."""
    return {
        step.name: (
            widths.get(step.inputs[0], step.layer.in_channels),
            widths.get(step.name, step.layer.out_channels),
        )
        for step in graph.operations
        if step.layer is not None
    }


def _dense(step: Operation, other: Layer) -> bool:
    layer = step.layer
    return layer is not None and layer.kind in _DENSE and layer.groups == 1 and layer.block == other.block


def _sole_readers(graph: Graph) -> dict[str, Operation]:
    """Return for each value that one operation reads, once, that operation."""
    reads = graph.reads()
    return {name: step for step in graph.operations for name in step.inputs if reads[name] == 1}
