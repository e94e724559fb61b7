"""Seconds of every layer that a space's structures may have: asked of the latency model once, then looked up.

Both solvers add up the times of millions of layers, from some thousands of different ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from qedeploy.errors import UserError
from qedeploy.latency.predictor import LatencyModel, Role
from qedeploy.network.layers import LayerCategory
from qedeploy.network.structure import IMAGE_CHANNELS, Bits
from qedeploy.search.space.layers import Array, Layers, Place, block_places
from qedeploy.search.space.space import SearchSpace, bottleneck_channels
from qedeploy.search.space.space_layers import block_bits

Index = tuple[Any, ...]
"""Index arrays that broadcast together."""


class LayerTimes:
    """The times of a space's layers as tables, each made when it is first asked for."""

    def __init__(
        self,
        model: LatencyModel,
        *,
        stem_channels: Sequence[int],
        stem_kernel: int,
        channels: Sequence[int],
        kernels: Sequence[int],
        ratios: Sequence[float],
        head_channels: int,
    ) -> None:
        self.model = model
        self._stem_kernel, self._head_channels = stem_kernel, head_channels
        self._widths, self._kernels = np.array(sorted({*stem_channels, *channels})), np.array(kernels)
        # A bottleneck goes with few channels behind it, and with any before it.
        self._ends = np.array(sorted({(bottleneck_channels(out, ratio), out) for out in channels for ratio in ratios}))
        self._middles = np.unique(self._ends[:, 0])
        self._width_at, self._middle_at, self._kernel_at = map(_positions, (self._widths, self._middles, self._kernels))
        self._end_at = np.full((self._middles.size, self._widths.size), -1)
        self._end_at[self._middle_at[self._ends[:, 0]], self._width_at[self._ends[:, 1]]] = np.arange(len(self._ends))
        self._tables: dict[tuple[Place, tuple[Bits, ...]], Array] = {}

    def table(self, place: Place, pairs: tuple[Bits, ...]) -> Array:
        """Return seconds at each of `pairs`, and zeros behind the last; the other axes are those of `index`."""
        found = self._tables.get((place, pairs))
        if found is None:
            distinct = {bits: self._seconds(place, bits) for bits in dict.fromkeys(pairs)}
            rows = [distinct[bits] for bits in pairs]
            found = self._tables[place, pairs] = np.stack([*rows, np.zeros_like(rows[0])])
        return found

    def index(self, layers: Layers) -> Index:
        """Return where layers of the space are in a table of their place: index arrays of the axes behind the first."""
        in_channels, out_channels, role = layers.in_channels, layers.out_channels, layers.place.role
        match role:
            case Role.STEM:
                return (self._width_at[out_channels],)
            case Role.EXPAND:
                return self._width_at[in_channels], self._middle_at[out_channels]
            case Role.DEPTHWISE:
                return self._kernel_at[layers.kernel], self._middle_at[out_channels]
            case Role.PROJECT:
                ends = self._end_at[self._middle_at[in_channels], self._width_at[out_channels]]
                return np.asarray(layers.shortcut, np.intp), ends
            case Role.HEAD:
                return (self._width_at[in_channels],)

    def every_pair(self, place: Place, pairs: tuple[Bits, ...], index: Index) -> Array:
        """Return seconds of the layers at `index`, [pairs, ...]."""
        found: Array = self.table(place, pairs)[:, *index]
        return found[:-1]

    def _seconds(self, place: Place, bits: Bits) -> Array:
        def seconds(into: Array, out: Array, kernel: Array | int, shortcut: Array | bool = False) -> Array:
            size = math.ceil(place.size)
            return self.model.layer_seconds(
                place.role, into, out, kernel, place.stride, size, bits,
                shortcut=shortcut, block_stride=place.block_stride,
            )  # fmt: skip

        widths, middles = self._widths, self._middles
        match place.role:
            case Role.STEM:
                return seconds(np.array(IMAGE_CHANNELS), widths, self._stem_kernel)
            case Role.EXPAND:
                return seconds(widths[:, None], middles, 1)
            case Role.DEPTHWISE:
                return seconds(middles, middles, self._kernels[:, None])
            case Role.PROJECT:
                return seconds(self._ends[:, 0], self._ends[:, 1], 1, np.array([[False], [True]]))
            case Role.HEAD:
                return seconds(widths, np.array(self._head_channels), 1)


def layer_times(space: SearchSpace) -> LayerTimes:
    """Return the times of the layers of `space`: the same tables for the same latency model and choices.

    Raises UserError for a space without a latency model.
    """
    if space.latency is None:
        raise UserError("latency: expected a search space with a latency table, found one without")
    return _layer_times(
        space.latency,
        stem_channels=space.stem_channels,
        stem_kernel=space.stem_kernel,
        channels=space.channels,
        kernels=space.kernels,
        ratios=space.ratios,
        head_channels=space.head_channels,
    )


_layer_times = lru_cache(maxsize=4)(LayerTimes)


def constant_seconds(space: SearchSpace) -> float:
    """Return what every structure of `space` pays: the call, the pooling and the classifier."""
    size = space.resolution / (space.stem_stride * math.prod(space.strides))
    model, classifier = layer_times(space).model, space.classifier
    return model.constant(space.head_channels, classifier.classes, math.ceil(size), classifier.bits)


def require_times(space: SearchSpace) -> None:
    """Raise RequestError naming the first layers of `space` that its latency table has no times of."""
    times, size = layer_times(space), float(space.resolution)
    constant_seconds(space)
    times.table(Place(Role.STEM, space.stem_stride, size), (space.stem_bits,))
    size /= space.stem_stride
    for stride, depths in zip(space.strides, space.depths, strict=True):
        places = block_places(stride, size) + (block_places(1, size / stride) if max(depths) > 1 else ())
        for place, pairs in zip(places, block_bits(space) * 2, strict=False):
            times.table(place, pairs)
        size /= stride
    times.table(Place(Role.HEAD, 1, size), space.pairs[LayerCategory.HEAD])


def _positions(values: Array) -> Array:
    """Return an array that has at each of `values` its position, and -1 elsewhere."""
    found = np.full(int(values[-1]) + 1, -1)
    found[values] = np.arange(values.size)
    return found
