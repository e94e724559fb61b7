"""Layers of a search space as arrays: many shapes at once, and the widths that each of them chooses from.

What a layer costs splits into parts that its shape decides, each times a factor that its widths decide, so a solver can
hold the two apart: flops = products * b_A b_W / 64 + fixed_flops, bytes = weights * b_W / 8 + scale_bytes. The
accounting is that of `network.costs`; tests hold the two together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qedeploy.latency.predictor import Role
from qedeploy.network.layers import Layer, LayerCategory, expand_layers
from qedeploy.network.structure import Bits, Structure

Array = NDArray[Any]

BLOCK_KINDS = (LayerCategory.POINTWISE, LayerCategory.DEPTHWISE, LayerCategory.POINTWISE)
"""Kinds of a block's layers, in the order in which data meets them."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a layer stands; `size` is its nominal square input in pixels, `block_stride` that of its block."""

    role: Role
    stride: int
    size: float
    block_stride: int = 1


def block_places(stride: int, size: float) -> tuple[Place, Place, Place]:
    """Return where the three layers of a block stand whose square input has `size` pixels."""
    return (
        Place(Role.EXPAND, 1, size),
        Place(Role.DEPTHWISE, stride, size),
        Place(Role.PROJECT, 1, size / stride, stride),
    )


@dataclass(frozen=True, eq=False)
class Pairs:
    """The (weight, activation) widths that layers of a kind choose from, and those that the device computes them in."""

    kind: LayerCategory
    bits: tuple[Bits, ...]
    executed: tuple[Bits, ...]

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.bits)

    @cached_property
    def weight(self) -> Array:
        """Bits of each pair's weights, [pairs]."""
        return np.array([bits.weight for bits in self.bits])

    @cached_property
    def activation(self) -> Array:
        """Bits of each pair's activations, [pairs]."""
        return np.array([bits.activation for bits in self.bits])

    @cached_property
    def products(self) -> Array:
        """What a multiplication counts at each pair, 1 for 8 by 8 bits: b_A b_W / 64, [pairs]."""
        return self.weight * self.activation / 64

    @cached_property
    def executed_products(self) -> Array:
        """The same in the widths that the device computes in, [pairs]."""
        return np.array([bits.weight * bits.activation / 64 for bits in self.executed])


@dataclass(frozen=True, eq=False, kw_only=True)
class Layers:
    """Layers of one place: arrays that broadcast together, and the pairs that each of them chooses from.

    `shortcut` says where the layer ends a block that adds its input.
    """

    in_channels: Array
    out_channels: Array
    kernel: Array
    place: Place
    pairs: Pairs
    shortcut: Array | bool = False

    @property
    def fan_in(self) -> Array:
        """Channels that one output reads: 1 for a depthwise layer."""
        return np.array(1) if self.place.role is Role.DEPTHWISE else np.asarray(self.in_channels)

    @cached_property
    def weights(self) -> Array:
        """How many weights a layer has."""
        return np.asarray(np.multiply(self.fan_in, np.square(self.kernel)) * self.out_channels)

    @cached_property
    def products(self) -> Array:
        """Multiply-accumulates."""
        return np.asarray(self.weights * self._area)

    @cached_property
    def fixed_flops(self) -> Array:
        """Operations whatever the widths: normalisation, ReLU, and the pooling of a shortcut behind a stride of 2."""
        fixed = np.multiply(self.out_channels, 3 * self._area)
        if self.place.role is not Role.PROJECT or self.place.block_stride != 2:
            return np.asarray(fixed)
        before = (self.place.size * self.place.block_stride) ** 2
        return np.asarray(fixed + np.where(self.shortcut, np.multiply(self.out_channels, before), 0.0))

    @cached_property
    def scale_bytes(self) -> Array:
        """Two bytes for each output channel: its scale and its shift."""
        return np.asarray(np.multiply(self.out_channels, 2))

    @property
    def _area(self) -> float:
        return (self.place.size / self.place.stride) ** 2


def structure_layers(
    structure: Structure, executed: Mapping[tuple[LayerCategory, Bits], Bits] | None = None
) -> Iterator[tuple[int, Layers]]:
    """Yield every convolution of `structure` as Layers of one, each with its own pair, and the number of its block.

    Blocks here are the stem, 0, the stages and the head. `executed` are the widths that a device computes in, those of
    the structure where it has none.
    """
    stride, head = 1, len(structure.stages) + 1
    for layer in expand_layers(structure):
        if layer.category is LayerCategory.CLASSIFIER:
            continue
        role = _role(layer)
        stride = layer.stride if role is Role.DEPTHWISE else stride
        block = {Role.STEM: 0, Role.HEAD: head}.get(role)
        if block is None:
            block = int(layer.name.partition(".")[0].removeprefix("stage"))
        bits, size = (layer.bits,), layer.nominal_size or float(layer.input_size)
        place = Place(role, layer.stride, size, stride if role is Role.PROJECT else 1)
        device = (executed or {}).get((layer.category, layer.bits), layer.bits)
        found = Layers(
            in_channels=np.array(layer.in_channels),
            out_channels=np.array(layer.out_channels),
            kernel=np.array(layer.kernel),
            place=place,
            pairs=Pairs(layer.category, bits, (device,)),
            shortcut=layer.residual and role is Role.PROJECT,
        )
        yield block, found


def _role(layer: Layer) -> Role:
    if layer.category in {LayerCategory.STEM, LayerCategory.HEAD, LayerCategory.DEPTHWISE}:
        return Role(layer.category.value)
    return Role.PROJECT if layer.name.endswith(".project") else Role.EXPAND
