"""The reference's mutations on a whole array of genes at once.

Source: LightNAS (alibaba/lightweight-neural-architecture-search, commit 8ccaf88). One mutation picks a block at random;
in a stage it changes the output channels, the kernel, the bottleneck ratio, the depth, or the bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

import numpy as np

from qedeploy.network.layers import LayerCategory
from qedeploy.network.structure import Bits
from qedeploy.search.evolution.population import Coding
from qedeploy.search.space.layers import Array
from qedeploy.search.space.space import ROUND_CHANNELS

CHANNEL_FACTORS = (2.0, 1.5, 1.25, 0.8, 0.6, 0.5)
DEPTH_STEPS = (-2, -1, 1, 2)
BIT_STEP_PROBABILITY = 0.9


class _Change(IntEnum):
    CHANNELS = 0
    KERNEL = 1
    RATIO = 2
    DEPTH = 3
    BITS = 4


class Mutator:
    """Changes members of one space so that they stay in it."""

    def __init__(self, coding: Coding) -> None:
        space = coding.space
        self._coding = coding
        self._channel_steps = _channel_steps(coding.channels)
        self._stem_steps = _channel_steps(coding.stems)
        # Channels must not decrease from the stem on: what the first stage may be under a stem, and the other way.
        self._stem_floor = np.searchsorted(coding.channels, coding.stems)
        self._stem_ceiling = np.searchsorted(coding.stems, coding.channels, side="right") - 1
        self._depth_limits = np.array([len(depths) - 1 for depths in space.depths])
        self._head_steps = _bit_steps([(bits,) for bits in space.pairs[LayerCategory.HEAD]])
        if coding.per_block == 1:
            steps = [_bit_steps(list(zip(*coding.block_bits, strict=True)))]
        else:
            steps = [_bit_steps([(bits,) for bits in pairs]) for pairs in coding.block_bits]
        # One table for the three layers of a block: shorter lists of pairs are filled up and never looked up there.
        self._block_steps = np.zeros((len(steps), steps[0].shape[0], max(table.shape[1] for table in steps)), np.int16)
        for position, table in enumerate(steps):
            self._block_steps[position, :, : table.shape[1]] = table

    def mutate(self, genes: Array, random: np.random.Generator) -> None:
        """Mutate every column of `genes` once, in place; blocks beyond a stage's depth are left for Coding.settle."""
        stages = self._coding.stages
        count: int = genes.shape[1]
        view = self._coding.views(genes)
        block = random.integers(stages + 2, size=count)
        change = random.integers(len(_Change), size=count)
        change[block >= stages] = -1
        self._mutate_stem(view.stem, view.channels, np.flatnonzero(block == stages), random)
        chosen = np.flatnonzero(block == stages + 1)
        view.head[chosen] = self._head_steps[
            random.integers(len(self._head_steps), size=chosen.size), view.head[chosen]
        ]
        where = [np.flatnonzero(change == kind) for kind in _Change]
        self._mutate_channels(view.stem, view.channels, block, where[_Change.CHANNELS], random)
        space = self._coding.space
        for kind, rows, choices in (
            (_Change.KERNEL, view.kernels, len(space.kernels)),
            (_Change.RATIO, view.ratios, len(space.ratios)),
        ):
            rows[block[where[kind]], where[kind]] = random.integers(choices, size=where[kind].size)
        chosen = where[_Change.DEPTH]
        stage = block[chosen]
        step = np.array(DEPTH_STEPS)[random.integers(len(DEPTH_STEPS), size=chosen.size)]
        view.depths[stage, chosen] = np.clip(view.depths[stage, chosen] + step, 0, self._depth_limits[stage])
        self._mutate_bits(view.widths, block, where[_Change.BITS], random)

    def _mutate_stem(self, stem: Array, channels: Array, chosen: Array, random: np.random.Generator) -> None:
        step = random.integers(len(CHANNEL_FACTORS), size=chosen.size)
        stem[chosen] = np.minimum(self._stem_steps[step, stem[chosen]], self._stem_ceiling[channels[0, chosen]])

    def _mutate_channels(
        self, stem: Array, channels: Array, block: Array, chosen: Array, random: np.random.Generator
    ) -> None:
        stage = block[chosen]
        step = random.integers(len(CHANNEL_FACTORS), size=chosen.size)
        moved = self._channel_steps[step, channels[stage, chosen]]
        low = np.where(stage > 0, channels[stage - 1, chosen], self._stem_floor[stem[chosen]])
        last = len(channels) - 1
        high = np.where(stage < last, channels[np.minimum(stage + 1, last), chosen], len(self._coding.channels) - 1)
        channels[stage, chosen] = np.clip(moved, low, high)

    def _mutate_bits(self, widths: Array, block: Array, chosen: Array, random: np.random.Generator) -> None:
        stage = block[chosen]
        # [blocks, layers, chosen]: each block steps with the given probability, one of its layers where they are free.
        before = widths[stage, :, :, chosen].transpose(1, 2, 0)
        blocks, layers, _ = before.shape
        step = random.integers(self._block_steps.shape[1], size=before.shape)
        moves = random.random((blocks, 1, chosen.size)) < BIT_STEP_PROBABILITY
        if layers > 1:
            moves = moves & (random.integers(layers, size=(blocks, 1, chosen.size)) == np.arange(layers)[:, None])
        moved = self._block_steps[np.arange(layers)[:, None], step, before]
        widths[stage, :, :, chosen] = np.where(moves, moved, before).transpose(2, 0, 1)


def _channel_steps(channels: Array) -> Array:
    """Return, for each factor and choice, the index of the choice nearest to the factor times its channels."""
    steps = np.zeros((len(CHANNEL_FACTORS), len(channels)), np.int16)
    for row, factor in enumerate(CHANNEL_FACTORS):
        wanted = np.maximum(1, np.rint(channels * factor / ROUND_CHANNELS)) * ROUND_CHANNELS
        steps[row] = np.abs(channels[:, None] - wanted).argmin(axis=0)
    return steps


def _bit_steps(choices: Sequence[tuple[Bits, ...]]) -> Array:
    """Return, for each direction and choice, the next choice that way, or the choice itself where there is none.

    A direction is up or down in the weight or the activation width of one layer; the next choice is the one that
    moves least there, and among these the one that moves least elsewhere.
    """
    widths = np.array([[width for bits in choice for width in (bits.weight, bits.activation)] for choice in choices])
    directions = [(column, sign) for column in range(widths.shape[1]) for sign in (-1, 1)]
    steps = np.zeros((len(directions), len(choices)), np.int16)
    for row, (column, sign) in enumerate(directions):
        for index, own in enumerate(widths):
            ahead = np.flatnonzero(sign * (widths[:, column] - own[column]) > 0)
            steps[row, index] = index
            if ahead.size:
                moved = np.abs(widths[ahead] - own)
                steps[row, index] = ahead[np.lexsort((moved.sum(axis=1), moved[:, column]))[0]]
    return steps
