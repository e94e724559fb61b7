"""The layers that a space's structures are made of, as arrays: stems, the blocks of each stage, heads."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from qedeploy.latency.predictor import Role
from qedeploy.network.layers import LayerCategory
from qedeploy.network.structure import IMAGE_CHANNELS, Bits
from qedeploy.search.space.layers import BLOCK_KINDS, Array, Layers, Pairs, Place, block_places
from qedeploy.search.space.space import BitsPer, SearchSpace


@dataclass(frozen=True, eq=False)
class SpaceLayers:
    """Makes the layers of a space. Stages count from 0."""

    space: SearchSpace

    @cached_property
    def stem_pairs(self) -> Pairs:
        """The one pair of the stem."""
        return self._pairs(LayerCategory.STEM, (self.space.stem_bits,))

    @cached_property
    def block_pairs(self) -> tuple[Pairs, Pairs, Pairs]:
        """The pairs of a block's expand, depthwise and project layer."""
        kinds = zip(BLOCK_KINDS, block_bits(self.space), strict=True)
        expand, depthwise, project = (self._pairs(kind, bits) for kind, bits in kinds)
        return expand, depthwise, project

    @cached_property
    def head_pairs(self) -> Pairs:
        """The pairs of the head."""
        return self._pairs(LayerCategory.HEAD, self.space.pairs[LayerCategory.HEAD])

    @cached_property
    def sizes(self) -> tuple[float, ...]:
        """Nominal input size in pixels of each stage, then of the head."""
        size = self.space.resolution / self.space.stem_stride
        found = [size]
        for stride in self.space.strides:
            size /= stride
            found.append(size)
        return tuple(found)

    def stem(self, channels: Array) -> Layers:
        """Return stems of these widths."""
        space = self.space
        return Layers(
            in_channels=np.array(IMAGE_CHANNELS),
            out_channels=channels,
            kernel=np.array(space.stem_kernel),
            place=Place(Role.STEM, space.stem_stride, float(space.resolution)),
            pairs=self.stem_pairs,
        )

    def head(self, channels: Array) -> Layers:
        """Return heads that read these channels."""
        return Layers(
            in_channels=channels,
            out_channels=np.array(self.space.head_channels),
            kernel=np.array(1),
            place=Place(Role.HEAD, 1, self.sizes[-1]),
            pairs=self.head_pairs,
        )

    def block(
        self, stage: int, *, first: bool, into: Array, middle: Array, out: Array, kernel: Array
    ) -> tuple[Layers, Layers, Layers]:
        """Return the three layers of blocks of a stage: its `first` one, or a repeat, whose channels do not change."""
        stride = self.space.strides[stage] if first else 1
        size = self.sizes[stage] if first else self.sizes[stage + 1]
        one, no = np.array(1), np.array(False)
        rows = ((into, middle, one, no), (middle, middle, kernel, no), (middle, out, one, np.equal(into, out)))
        expand, depthwise, project = (
            Layers(in_channels=i, out_channels=o, kernel=k, place=place, pairs=pairs, shortcut=added)
            for (i, o, k, added), place, pairs in zip(rows, block_places(stride, size), self.block_pairs, strict=True)
        )
        return expand, depthwise, project

    def _pairs(self, kind: LayerCategory, bits: tuple[Bits, ...]) -> Pairs:
        return Pairs(kind, bits, tuple(self.space.executed.get((kind, pair), pair) for pair in bits))


def block_bits(space: SearchSpace) -> tuple[tuple[Bits, ...], tuple[Bits, ...], tuple[Bits, ...]]:
    """Return the pairs that a gene of widths stands for, in a block's expand, depthwise and project layer."""
    if space.bits_per is BitsPer.LAYER:
        pointwise, depthwise = space.pairs[LayerCategory.POINTWISE], space.pairs[LayerCategory.DEPTHWISE]
        return pointwise, depthwise, pointwise
    choices = space.block_choices
    return (
        # The blocks of a space always expand: a bottleneck has a ratio there.
        tuple(block.expand for block in choices if block.expand is not None),
        tuple(block.depthwise for block in choices),
        tuple(block.project for block in choices),
    )
