"""Bytes of activations that are alive while a layer runs, over arrays of shapes: the accounting of `network.costs`.

Channels, sizes in pixels and bytes for one activation are numbers or arrays that broadcast together.
"""

from __future__ import annotations

import numpy as np

from qedeploy.network.structure import IMAGE_CHANNELS
from qedeploy.search.space.layers import Array
from qedeploy.search.space.space import SearchSpace

_BYTES_OUT = 1.0
"""What the head puts out is counted in bytes whatever its widths (the reference)."""


def stem_memory(space: SearchSpace, channels: Array, following: Array | float) -> Array:
    """Return bytes alive in stems of `channels`, the next layer's activations taking `following` bytes each."""
    area = float(space.resolution) ** 2
    image = area * IMAGE_CHANNELS * (space.stem_bits.activation / 8)
    return np.asarray(image + area * channels // space.stem_stride**2 * following)


def head_memory(space: SearchSpace, size: float, channels: Array, activation: Array | float) -> Array:
    """Return bytes alive in heads that read `channels` of `size` pixels square at `activation` bytes each."""
    return np.asarray(size**2 * channels * activation + size**2 * space.head_channels * _BYTES_OUT)


def expand_memory(before: Array, bottleneck: Array, size: float, own: Array | float, following: Array | float) -> Array:
    """Return bytes alive in expand layers that read at `own` bytes, the depthwise layer behind at `following`."""
    area = size**2
    return np.asarray(area * before * own + area * bottleneck // 1 * following)


def depthwise_memory(
    residual: Array | bool,
    bottleneck: Array,
    out: Array,
    stride: int,
    size: float,
    entry: Array | float,
    own: Array | float,
    following: Array | float,
) -> Array:
    """Return bytes alive in depthwise layers at `own` bytes; where `residual`, a shortcut waits beside at `entry`."""
    area = size**2
    shortcut = np.where(residual, area * out // stride**2 * entry, 0.0)
    return np.asarray(area * bottleneck * own + area // stride**2 * following + shortcut)


def project_memory(
    bottleneck: Array, out: Array, stride: int, size: float, own: Array | float, following: Array | float
) -> Array:
    """Return bytes alive in project layers that read at `own` bytes, the layer behind the block at `following`."""
    after = (size / stride) ** 2
    return np.asarray(after * bottleneck * own + after * out // 1 * following)


def block_memory(
    before: Array, bottleneck: Array, out: Array, stride: int, size: float, activation_bytes: tuple[Array | float, ...]
) -> Array:
    """Return the most activation bytes alive in an inverted bottleneck.

    `size` is its square input in pixels; `activation_bytes` are those of its three layers and of the one behind it.
    """
    expand_bytes, depthwise_bytes, project_bytes, following = activation_bytes
    expand = expand_memory(before, bottleneck, size, expand_bytes, depthwise_bytes)
    residual = np.equal(before, out)
    depthwise = depthwise_memory(residual, bottleneck, out, stride, size, expand_bytes, depthwise_bytes, project_bytes)
    project = project_memory(bottleneck, out, stride, size, project_bytes, following)
    return np.maximum(np.maximum(expand, depthwise), project)
