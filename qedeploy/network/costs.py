"""What a network costs before anything is measured: flops, BitOps, bytes, peak activation memory.

The accounting is the reference's (LightNAS commit 8ccaf88), so that published figures can be compared; the
classifier is not part of it. Every sum is over layers, which is what lets a solver decide layer by layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qedeploy.network.layers import Layer, LayerKind, Position, expand_layers
from qedeploy.network.structure import Bits, Structure

BITOPS_PER_FLOP = 64
"""A flop of the reference is one 8-bit by 8-bit multiply-accumulate, which is 64 BitOps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Costs of a structure, named as `qedeploy score --json` prints them."""

    flops: float
    bitops: float
    size_bytes: float
    layers: int
    peak_memory_bytes: float


def structure_costs(structure: Structure) -> Costs:
    """Return all costs of `structure` at its own resolution, without the classifier."""
    layers = convolutions(expand_layers(structure))
    flops = sum(layer_flops(layer) for layer in layers)
    return Costs(
        flops=flops,
        bitops=flops * BITOPS_PER_FLOP,
        size_bytes=sum(layer_size_bytes(layer) for layer in layers),
        layers=len(layers),
        peak_memory_bytes=max(memory_bytes(layers)),
    )


def convolutions(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """Return the layers that the reference counts: all but the classifier."""
    return tuple(layer for layer in layers if layer.position is not Position.CLASSIFIER)


def layer_flops(layer: Layer, bits: Bits | None = None) -> float:
    """Return the reference's flops of one layer, with the batch normalisation, activation and pooling that follow it.

    `bits` replaces the layer's own widths, for instance with those that a device executes.
    """
    widths = bits or layer.bits
    stride_area = layer.window.stride_area
    products = layer.in_channels * layer.out_channels * layer.window.kernel_area / layer.groups / stride_area
    normalisation = 2 * layer.out_channels / stride_area
    activation = layer.out_channels / stride_area if layer.activation else 0.0
    flops = products * widths.activation * widths.weight / 64 + normalisation + activation
    return flops * layer.nominal_area + _pooling_flops(layer)


def executed_bitops(structure: Structure, executed: Mapping[str, Bits]) -> float:
    """Return BitOps with the widths the runtime computes in.

    `executed` maps a layer name to those widths; a layer it does not name keeps its own.
    """
    layers = convolutions(expand_layers(structure))
    return BITOPS_PER_FLOP * sum(layer_flops(layer, executed.get(layer.name)) for layer in layers)


def layer_size_bytes(layer: Layer) -> float:
    """Return the bytes of one layer's weights, plus a byte each for the scale and the shift of an output channel."""
    return layer.weight_count * layer.bits.weight / 8 + 2 * layer.out_channels


def memory_bytes(layers: tuple[Layer, ...]) -> tuple[float, ...]:
    """Return the activation bytes alive while each convolution runs (the reference's max_feature_list)."""
    return tuple(_layer_memory(layers, index) for index in range(len(layers)))


def _layer_memory(layers: tuple[Layer, ...], index: int) -> float:
    layer = layers[index]
    next_bits = layers[index + 1].bits.activation if index + 1 < len(layers) else 8
    area, stride_area = layer.nominal_area, layer.window.stride_area
    in_place = layer.kind is LayerKind.DEPTHWISE
    out_channels = 1 if in_place else layer.out_channels
    bytes_alive = area * layer.in_channels * layer.bits.activation / 8
    bytes_alive += area * out_channels // stride_area * next_bits / 8
    if in_place and layer.residual:
        first = layers[index - 1] if layers[index - 1].block == layer.block else layer
        bytes_alive += area * layers[index + 1].out_channels // stride_area * first.bits.activation / 8
    return bytes_alive


def _pooling_flops(layer: Layer) -> float:
    # The shortcut is pooled at the block's input size; the project layer carries the cost, at a quarter of that area.
    if layer.pooled and layer.name.endswith(".project"):
        return layer.out_channels * 4 * layer.nominal_area
    return 0.0
