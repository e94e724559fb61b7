"""Padding channels to widths at which a kernel is fast: the added channels are zero, so no number changes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from qedeploy.network.graph import Graph
from qedeploy.network.layers import LayerKind
from qedeploy.network.padding import padded_channels, padded_widths
from qedeploy.qdq.fold import FoldedLayer
from qedeploy.qdq.lowered import LoweredNetwork


def pad_channels(network: LoweredNetwork, multiple: int) -> LoweredNetwork:
    """Return `network` with the channels of `padded_widths` filled up with zero weights; its plan says which."""
    widths = padded_widths(network.graph, multiple)
    if not widths:
        return network
    channels = padded_channels(network.graph, widths)
    padded = {
        layer.name: _padded(network.layers[layer.name], *channels[layer.name], layer.kind, layer.groups)
        for layer in network.graph.layers
    }
    notes = (*network.plan.notes, *_notes(network.graph, widths))
    return dataclasses.replace(network, layers=padded, plan=dataclasses.replace(network.plan, notes=notes))


def _padded(layer: FoldedLayer, inputs: int, outputs: int, kind: LayerKind, groups: int) -> FoldedLayer:
    inputs = 1 if kind is LayerKind.DEPTHWISE else inputs // groups
    extra_outputs, extra_inputs = outputs - layer.weight.shape[0], inputs - layer.weight.shape[1]
    if not extra_outputs and not extra_inputs:
        return layer
    growth = [(0, extra_outputs), (0, extra_inputs)] + [(0, 0)] * (layer.weight.ndim - 2)
    scale = None if layer.scale is None else np.pad(layer.scale, (0, extra_outputs), constant_values=1.0)
    weight: Any = np.pad(layer.weight, growth)
    return dataclasses.replace(layer, weight=weight, scale=scale, bias=np.pad(layer.bias, (0, extra_outputs)))


def _notes(graph: Graph, widths: Mapping[str, int]) -> list[str]:
    channels = {layer.name: layer.out_channels for layer in graph.layers}
    return [f"{name}: {channels[name]} channels padded to {width} with zeros" for name, width in widths.items()]
