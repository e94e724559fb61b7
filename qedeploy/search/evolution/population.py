"""Many structures at once: a population as an array of choices.

A member is a column of genes, each the index of one choice of the SearchSpace, so that mutation and selection are
array operations.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from qedeploy.errors import RequestError
from qedeploy.network.layers import LayerCategory
from qedeploy.network.structure import Bits, Block, Stage, Structure
from qedeploy.search.costs.budget import Budget
from qedeploy.search.costs.population import Shapes
from qedeploy.search.costs.population_costs import Measures, Meter
from qedeploy.search.space.layers import Array
from qedeploy.search.space.space import BitsPer, SearchSpace, bottleneck_channels
from qedeploy.search.space.space_layers import block_bits


@dataclass(frozen=True, slots=True, kw_only=True)
class Genes:
    """Views of the genes of N members: what is written here changes the array. `widths` as in Shapes, else indices."""

    stem: Array
    head: Array
    channels: Array
    kernels: Array
    ratios: Array
    depths: Array
    widths: Array


class Coding:
    """How the members of one space are written as genes (int16 [genes, N]) and what they cost."""

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self.stages = len(space.strides)
        self.blocks = max(max(depths) for depths in space.depths)
        self.per_block = 1 if space.bits_per is BitsPer.BLOCK else 3
        self.genes = 2 + self.stages * (4 + self.blocks * self.per_block)
        self.channels = np.array(space.channels)
        # A wider stem leaves the first stage nothing to choose: channels do not decrease.
        self.stems = np.array([stem for stem in space.stem_channels if stem <= space.channels[-1]])
        if not self.stems.size:
            raise RequestError(
                f"no structure is in this space: the stem has {space.stem_channels[0]} channels or more, the stages at "
                f"most {space.channels[-1]}, and channels do not decrease; give the recipe's stem fewer"
            )
        self.bottlenecks = np.array([[bottleneck_channels(out, r) for r in space.ratios] for out in space.channels])
        longest = max(map(len, space.depths))
        self.depths = np.array([depths + depths[-1:] * (longest - len(depths)) for depths in space.depths])
        self.block_bits = block_bits(space)
        self._kernels = np.array(space.kernels)
        self._meter = Meter(space)

    def views(self, genes: Array) -> Genes:
        """Return the parts of `genes` by name."""
        count, rows = genes.shape[1], genes[2 : 2 + 4 * self.stages].reshape(4, self.stages, -1)
        widths = genes[2 + 4 * self.stages :].reshape(self.stages, self.blocks, self.per_block, count)
        return Genes(
            stem=genes[0],
            head=genes[1],
            channels=rows[0],
            kernels=rows[1],
            ratios=rows[2],
            depths=rows[3],
            widths=widths,
        )

    def limits(self) -> Array:
        """Return for each gene how many choices it has, [genes]."""
        counts = np.empty((self.genes, 1), np.int16)
        view = self.views(counts)
        view.stem[:], view.head[:] = len(self.stems), len(self.space.pairs[LayerCategory.HEAD])
        view.channels[:], view.kernels[:] = len(self.channels), len(self._kernels)
        view.ratios[:], view.depths[:, 0] = len(self.space.ratios), [len(depths) for depths in self.space.depths]
        for position in range(self.per_block):
            view.widths[:, :, position] = len(self.block_bits[position])
        return counts[:, 0]

    def shapes(self, genes: Array) -> Shapes:
        """Return what the members of `genes` look like."""
        view = self.views(genes)
        return Shapes(
            stem=self.stems[view.stem],
            head=view.head,
            channels=self.channels[view.channels],
            kernels=self._kernels[view.kernels],
            bottlenecks=self.bottlenecks[view.channels, view.ratios],
            depths=self.depths[np.arange(self.stages)[:, None], view.depths],
            widths=view.widths,
        )

    def settle(self, genes: Array) -> Array:
        """Let blocks that a stage does not have repeat its last one, in place, so that a member has one form only."""
        view = self.views(genes)
        depths = self.depths[np.arange(self.stages)[:, None], view.depths][:, None]
        for block in range(1, self.blocks):
            np.copyto(view.widths[:, block], view.widths[:, block - 1], where=depths <= block)
        return genes

    def measure(self, genes: Array, budgets: Iterable[Budget]) -> Measures:
        """Return the score of the members of `genes` and their costs of `budgets`."""
        return self._meter.measure(self.shapes(genes), budgets)

    def encode(self, structures: Sequence[Structure]) -> Array:
        """Return the genes of the members of the space nearest to `structures`, choice by choice, [genes, N]."""
        genes = np.zeros((self.genes, len(structures)), np.int16)
        view = self.views(genes)
        for member, structure in enumerate(structures):
            view.stem[member] = _nearest(self.stems, structure.stem.out_channels)
            view.head[member] = _nearest_bits(
                [(bits,) for bits in self.space.pairs[LayerCategory.HEAD]], (structure.head.bits,)
            )
            floor = self.stems[view.stem[member]]
            for index, stage in enumerate(structure.stages):
                allowed = np.where(self.channels >= floor, self.channels, np.iinfo(np.int64).max // 2)
                out = _nearest(allowed, stage.out_channels)
                floor = self.channels[out]
                view.channels[index, member] = out
                view.kernels[index, member] = _nearest(self._kernels, stage.kernel)
                view.ratios[index, member] = _nearest(self.bottlenecks[out], stage.bottleneck_channels)
                view.depths[index, member] = _nearest(self.depths[index], len(stage.blocks))
                for slot in range(self.blocks):
                    block = stage.blocks[min(slot, len(stage.blocks) - 1)]
                    view.widths[index, slot, :, member] = self._nearest_widths(block)
        return self.settle(genes)

    def smallest(self) -> Array:
        """Return the genes of a member with the least of every shape and the fewest bits, [genes, 1]."""
        genes = np.zeros((self.genes, 1), np.int16)
        view = self.views(genes)
        view.channels[:] = np.searchsorted(self.channels, self.stems[0])
        view.head[:] = _fewest_bits([(bits,) for bits in self.space.pairs[LayerCategory.HEAD]])
        if self.per_block == 1:
            view.widths[:] = _fewest_bits(list(zip(*self.block_bits, strict=True)))
        else:
            for position, pairs in enumerate(self.block_bits):
                view.widths[:, :, position] = _fewest_bits([(bits,) for bits in pairs])
        return self.settle(genes)

    def structure(self, genes: Array) -> Structure:
        """Return the Structure of one member, given as its column of genes [genes]."""
        shapes = self.shapes(genes[:, None])
        stages = []
        for index, stride in enumerate(self.space.strides):
            widths = np.broadcast_to(shapes.widths[index, :, :, 0], (self.blocks, 3))[: shapes.depths[index, 0]]
            stages.append(
                Stage(
                    out_channels=int(shapes.channels[index, 0]),
                    bottleneck_channels=int(shapes.bottlenecks[index, 0]),
                    kernel=int(shapes.kernels[index, 0]),
                    stride=stride,
                    blocks=tuple(self._block(row) for row in widths),
                )
            )
        return Structure(
            stem=self.space.stem(int(shapes.stem[0])),
            stages=tuple(stages),
            head=self.space.head(self.space.pairs[LayerCategory.HEAD][shapes.head[0]]),
            classifier=self.space.classifier,
            resolution=self.space.resolution,
        )

    def _block(self, widths: Array) -> Block:
        expand, depthwise, project = (bits[index] for bits, index in zip(self.block_bits, widths, strict=True))
        return Block(expand=expand, depthwise=depthwise, project=project)

    def _nearest_widths(self, block: Block) -> list[int]:
        wanted = (block.expand or block.project, block.depthwise, block.project)
        if self.per_block == 1:
            return [_nearest_bits(list(zip(*self.block_bits, strict=True)), wanted)]
        pairs = zip(self.block_bits, wanted, strict=True)
        return [_nearest_bits([(bits,) for bits in known], (pair,)) for known, pair in pairs]


def _nearest(choices: Array, wanted: float) -> int:
    return int(np.argmin(np.abs(choices - wanted)))


def _nearest_bits(choices: Sequence[tuple[Bits, ...]], wanted: tuple[Bits, ...]) -> int:
    def distance(choice: tuple[Bits, ...]) -> int:
        pairs = zip(choice, wanted, strict=True)
        return sum(abs(a.weight - b.weight) + abs(a.activation - b.activation) for a, b in pairs)

    return min(range(len(choices)), key=lambda index: distance(choices[index]))


def _fewest_bits(choices: Sequence[tuple[Bits, ...]]) -> int:
    return min(range(len(choices)), key=lambda index: sum(b.weight * b.activation for b in choices[index]))
