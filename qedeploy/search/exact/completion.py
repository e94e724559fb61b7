"""Dynamic programming over (stage, channels): the best that can still follow, at given prices.

At fixed prices the limits are gone and a structure's value is a sum over its blocks, so the best continuation from
a state does not depend on how the state was reached. States lie after the stem and after each stage (channels), and
inside a stage after each block (channels, kernel, ratio). Where peak memory is limited, a state also holds the
activation width that the next layer begins with, because that layer's input must fit beside this one's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from qedeploy.network.structure import Structure
from qedeploy.search.exact.blocks import best_values, layer_totals
from qedeploy.search.exact.costs import SolverLayers
from qedeploy.search.exact.fitting import head_fits, stem_fits
from qedeploy.search.exact.pricing import price_layer
from qedeploy.search.exact.problem import BlockShapes, Prices, Problem
from qedeploy.search.space.layers import Array

Kept = TypeVar("Kept")

STRIP = 16
"""Input widths handled at a time: their arrays stay in the processor's cache."""


Strip = tuple[slice, slice, Array, BlockShapes]
"""Some of a stage's inputs, the outputs that may follow one of them, where these are too narrow, and the blocks."""

Totals = tuple[Array, Array]
"""Score and costs."""


@dataclass(frozen=True, slots=True)
class ChannelGrid:
    """The channels considered after the stem and after each stage, ascending, and what of a problem they decide.

    A grid goes with one problem: it keeps the shapes of the problem's layers, which are the same at all prices.
    """

    channels: tuple[Array, ...]
    _kept: dict[tuple[str, int], Any] = field(default_factory=dict, compare=False)

    @classmethod
    def of(cls, problem: Problem, every: int = 1) -> ChannelGrid:
        """Return the grid of a problem with every nth channel, the narrowest and the widest included."""
        space = problem.space
        stages = np.array(sorted({*space.channels[::every], space.channels[-1]}))
        return cls((np.array(space.stem_channels), *(stages for _ in space.strides)))

    def around(self, structures: Sequence[Structure], reach: int) -> ChannelGrid:
        """Return the grid within `reach` places of the channels that some structures have."""
        kept = []
        for number, channels in enumerate(self.channels):
            found = [s.stem.out_channels if number == 0 else s.stages[number - 1].out_channels for s in structures]
            centre = np.searchsorted(channels, sorted(set(found)))
            near = (centre[:, None] + np.arange(-reach, reach + 1)).clip(0, channels.size - 1)
            # np.unique would import the masked arrays for this, which takes longer than the walk that follows.
            kept.append(channels[sorted(set(near.ravel().tolist()))])
        return ChannelGrid(tuple(kept))

    def stem(self, problem: Problem) -> SolverLayers:
        """Return the stems of the grid."""
        return self._once("stem", 0, lambda: problem.stem(self.channels[0]))

    def stem_totals(self, problem: Problem) -> Totals:
        """Return score [stems, 1] and costs [stems, 1, costs] of the stems."""

        def totals() -> Totals:
            score, costs = layer_totals(problem, self.stem(problem), problem.score_weights[0][0])
            return score + (problem.score_weights[1][0] * self.end_terms(problem, 0))[:, None], costs

        return self._once("stem totals", 0, totals)

    def head_totals(self, problem: Problem) -> Totals:
        """Return score [channels, pairs] and costs [channels, pairs, costs] of the heads behind the last stage."""

        def totals() -> Totals:
            weights, ends = problem.score_weights
            score, costs = layer_totals(problem, problem.head(self.channels[-1]), weights[-1])
            return score + ends[-1] * problem.head_end, costs

        return self._once("head totals", 0, totals)

    def end_terms(self, problem: Problem, number: int) -> Array:
        """Return what the widths of the stem (0) or of a stage (from 1) bring the score that ends there, each once."""
        return self._once("ends", number, lambda: problem.space.score.end_term(self.channels[number]))

    def repeated_blocks(self, problem: Problem, step: int) -> BlockShapes:
        """Return the further blocks of a stage, shape [channels, kernel, ratio]."""
        channels = self.channels[step + 1][:, None, None]
        kernel, ratio = np.array(problem.space.kernels)[:, None], np.array(problem.space.ratios)

        def blocks() -> BlockShapes:
            return problem.blocks(
                step, first=False, in_channels=channels, out_channels=channels, kernel=kernel, ratio=ratio
            )

        return self._once("repeats", step, blocks)

    def strips(self, problem: Problem, step: int) -> list[Strip]:
        """Return the first blocks of a stage, strip after strip."""
        return self._once("strips", step, lambda: _strips(problem, self, step))

    def _once(self, what: str, number: int, make: Callable[[], Kept]) -> Kept:
        if (what, number) not in self._kept:
            self._kept[what, number] = make()
        found: Kept = self._kept[what, number]
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """The best values that can follow each state at `prices`, without the limits.

    `after_stage[t]` has shape [entry, channels] (t = 0 is after the stem); `inside[t][d]`, shape
    [entry, channels, kernel, ratio], is for stage t after d blocks (d from 1). `repeats[t]`, shape [entry, next entry,
    channels, kernel, ratio], is what one more block is worth there, -inf where there is none. `whole` is the best value
    of a structure and `bound` that value with the limits paid back: no structure within the limits scores more.
    """

    prices: Prices
    after_stage: tuple[Array, ...]
    inside: tuple[tuple[Array, ...], ...]
    repeats: tuple[Array, ...]
    whole: float
    bound: float

    def rounding(self, limits: Array) -> float:
        """Return more than the rounding of any sum at these prices: some fifty additions of 1.1e-16 each."""
        return 1e-13 * (1.0 + abs(self.whole) + float(np.abs(limits) @ self.prices.multipliers))


def complete(problem: Problem, grid: ChannelGrid, prices: Prices) -> Completion:
    """Return the completions of `grid` at `prices`."""
    after = [_head_values(problem, grid, prices)]
    inside: list[tuple[Array, ...]] = []
    repeats: list[Array] = []
    for step in reversed(range(len(problem.space.strides))):
        repeat = np.array(-np.inf)
        # Where no block is repeated, a latency table need not have the times of one.
        if max(problem.space.depths[step]) > 1:
            repeat = best_values(problem, grid.repeated_blocks(problem, step), prices)
        stage = _inside_values(problem, grid, step, repeat, after[0])
        repeats.insert(0, repeat)
        inside.insert(0, stage)
        after.insert(0, _stage_values(problem, grid, step, prices, stage[1]))
    whole = float((stem_values(problem, grid, prices) + after[0]).max())
    return Completion(
        prices=prices,
        after_stage=tuple(after),
        inside=tuple(inside),
        repeats=tuple(repeats),
        whole=whole,
        bound=whole + float(prices.multipliers @ problem.limits),
    )


def stem_values(problem: Problem, grid: ChannelGrid, prices: Prices) -> Array:
    """Return the value of each stem, shape [entry, channels], -inf where it does not fit before that entry."""
    weights, bonus = problem.score_weights
    channels = grid.channels[0]
    priced = price_layer(grid.stem(problem), weights[0], prices)
    value = priced.fixed + priced.value(0) + prices.score * bonus[0] * grid.end_terms(problem, 0)
    return np.stack([np.where(stem_fits(problem, channels, width), value, -np.inf) for width in problem.entries])


def shapes_of_stage(
    problem: Problem, grid: ChannelGrid, step: int, rows: Array, columns: slice = slice(None)
) -> BlockShapes:
    """Return the first blocks of a stage, shape [channels in, channels out, kernel, ratio]."""
    space = problem.space
    return problem.blocks(
        step,
        first=True,
        in_channels=rows[:, None, None, None],
        out_channels=grid.channels[step + 1][columns][None, :, None, None],
        kernel=np.array(space.kernels)[None, None, :, None],
        ratio=np.array(space.ratios)[None, None, None, :],
    )


def channel_bonus(problem: Problem, grid: ChannelGrid, step: int, prices: Prices) -> Array:
    """Return what the width of a stage itself adds to the value, where a score stage ends with it."""
    found: Array = prices.score * problem.score_weights[1][step + 1] * grid.end_terms(problem, step + 1)
    return found


def _head_values(problem: Problem, grid: ChannelGrid, prices: Prices) -> Array:
    score, costs = grid.head_totals(problem)
    value = prices.score * score - costs @ prices.multipliers
    value = np.where(head_fits(problem, grid.channels[-1]), value, -np.inf)
    classes = np.array([problem.entry(bits) for bits in problem.head_pairs.bits])
    return np.stack([value[:, classes == c].max(axis=1, initial=-np.inf) for c in range(len(problem.entries))])


def _inside_values(problem: Problem, grid: ChannelGrid, step: int, repeat: Array, leave: Array) -> tuple[Array, ...]:
    """Return, for 0 (unused), 1, 2... blocks done, the best of leaving the stage and of repeating the block."""
    space, depths = problem.space, problem.space.depths[step]
    shape = (len(problem.entries), grid.channels[step + 1].size, len(space.kernels), len(space.ratios))
    leaving = np.broadcast_to(leave[:, :, None, None], shape)
    found = [np.full(shape, -np.inf) for _ in range(max(depths) + 1)]
    for depth in range(max(depths), 0, -1):
        if depth in depths:
            found[depth] = leaving
        if depth < max(depths):
            found[depth] = np.maximum(found[depth], (repeat + found[depth + 1]).max(axis=1))
    return tuple(found)


def _stage_values(problem: Problem, grid: ChannelGrid, step: int, prices: Prices, inside: Array) -> Array:
    """Return the best value from each width before the stage on, shape [entry, channels in]."""
    follow = inside + channel_bonus(problem, grid, step, prices)[:, None, None]
    found = np.full((len(problem.entries), grid.channels[step].size), -np.inf)
    for rows, columns, narrower, blocks in grid.strips(problem, step):
        value = best_values(problem, blocks, prices)
        value += follow[:, None, columns]
        value[:, :, narrower] = -np.inf
        # Next entries last, so that what is compared lies together.
        found[:, rows] = value.swapaxes(1, 2).reshape(*found[:, rows].shape, -1).max(axis=2)
    return found


def _strips(problem: Problem, grid: ChannelGrid, step: int) -> list[Strip]:
    into, out = grid.channels[step], grid.channels[step + 1]
    strips = []
    for start in range(0, into.size, STRIP):
        rows = slice(start, min(start + STRIP, into.size))
        # Channels never decrease: nothing narrower than the strip's first input can follow.
        columns = slice(int(np.searchsorted(out, into[start])), out.size)
        narrower = out[columns] < into[rows, None]
        if columns.start < out.size:
            strips.append((rows, columns, narrower, shapes_of_stage(problem, grid, step, into[rows], columns)))
    return strips
