"""Padding channels to what a kernel is fast at: the added channels carry zeros, so no number changes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from qedeploy.network.layers import Layer, LayerKind, expand_layers, expanded_blocks, round_up
from qedeploy.qdq.fold import FoldedLayer
from qedeploy.qdq.lowered import LoweredNetwork


def padded_widths(layers: tuple[Layer, ...], multiple: int) -> dict[str, int]:
    """Return for each layer whose output should grow the number of channels it grows to.

    That is what goes in and out of depthwise convolutions behind an expand layer: nothing but the neighbours' weights
    must follow.
    """
    expanded = expanded_blocks(layers)
    widths = {}
    for layer, following in pairwise(layers):
        inner = {layer.kind, following.kind} >= {LayerKind.DEPTHWISE} and layer.block == following.block
        if inner and layer.block in expanded and layer.out_channels % multiple:
            widths[layer.name] = round_up(layer.out_channels, multiple)
    return widths


def pad_channels(network: LoweredNetwork, multiple: int) -> LoweredNetwork:
    """Return `network` with the channels of `padded_widths` filled up with zero weights; its plan says which."""
    layers = expand_layers(network.structure)
    widths = padded_widths(layers, multiple)
    if not widths:
        return network
    padded: dict[str, FoldedLayer] = {}
    previous = network.structure.input_channels
    for layer in layers:
        outputs = widths.get(layer.name, layer.out_channels)
        padded[layer.name] = _padded(network.layers[layer.name], previous, outputs, layer.kind)
        previous = outputs
    notes = (*network.plan.notes, *_notes(layers, widths))
    return dataclasses.replace(network, layers=padded, plan=dataclasses.replace(network.plan, notes=notes))


def _padded(layer: FoldedLayer, inputs: int, outputs: int, kind: LayerKind) -> FoldedLayer:
    inputs = 1 if kind is LayerKind.DEPTHWISE else inputs
    extra_outputs, extra_inputs = outputs - layer.weight.shape[0], inputs - layer.weight.shape[1]
    if not extra_outputs and not extra_inputs:
        return layer
    growth = [(0, extra_outputs), (0, extra_inputs)] + [(0, 0)] * (layer.weight.ndim - 2)
    scale = None if layer.scale is None else np.pad(layer.scale, (0, extra_outputs), constant_values=1.0)
    weight: Any = np.pad(layer.weight, growth)
    return dataclasses.replace(layer, weight=weight, scale=scale, bias=np.pad(layer.bias, (0, extra_outputs)))


def _notes(layers: tuple[Layer, ...], widths: Mapping[str, int]) -> list[str]:
    channels = {layer.name: layer.out_channels for layer in layers}
    return [f"{name}: {channels[name]} channels padded to {width} with zeros" for name, width in widths.items()]
