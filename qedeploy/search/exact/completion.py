"""Dynamic programming over (stage, channels): the best that can still follow, at given prices.

At fixed prices the limits are gone and a structure's value is a sum over its blocks, so the best continuation from
a state does not depend on how the state was reached. States lie after the stem and after each stage (channels), and
inside a stage after each block (channels, kernel, ratio). Where peak memory is limited, a state also holds the
activation width that the next layer begins with, because that layer's input must fit beside this one's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from qedeploy.network.structure import Structure
from qedeploy.search.exact.blocks import best_values, layer_totals
from qedeploy.search.exact.fitting import head_fits, stem_fits
from qedeploy.search.exact.pricing import price_layer
from qedeploy.search.exact.problem import BlockShapes, Prices, Problem
from qedeploy.search.space.layers import Array

STRIP = 16
"""Input widths handled at a time: their arrays stay in the processor's cache."""


@dataclass(frozen=True, slots=True)
class Grid:
    """The channels considered after the stem and after each stage, ascending; `coarse` keeps every nth."""

    channels: tuple[Array, ...]
    strips: dict[int, list[tuple[slice, slice, Array, BlockShapes]]] = field(default_factory=dict, compare=False)
    repeats: dict[int, BlockShapes] = field(default_factory=dict, compare=False)

    @classmethod
    def of(cls, problem: Problem, every: int = 1) -> Grid:
        """Return the grid of a problem with every nth channel, the narrowest and the widest included."""
        space = problem.space
        stages = np.array(sorted({*space.channels[::every], space.channels[-1]}))
        return cls((np.array(space.stem_channels), *(stages for _ in space.strides)))

    def around(self, structures: Sequence[Structure], reach: int) -> Grid:
        """Return the grid within `reach` places of the channels that some structures have."""
        kept = []
        for number, channels in enumerate(self.channels):
            found = [s.stem.out_channels if number == 0 else s.stages[number - 1].out_channels for s in structures]
            centre = np.searchsorted(channels, sorted(set(found)))
            near = (centre[:, None] + np.arange(-reach, reach + 1)).clip(0, channels.size - 1)
            kept.append(channels[np.unique(near)])
        return Grid(tuple(kept))


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """The best values that can follow each state at `prices`, without the limits.

    `after_stage[t]` has shape [entry, channels] (t = 0 is after the stem); `inside[t][d]`, shape
    [entry, channels, kernel, ratio], is for stage t after d blocks (d from 1). `whole` is the best value of a structure
    and `bound` that value with the limits paid back: no structure within the limits scores more.
    """

    prices: Prices
    after_stage: tuple[Array, ...]
    inside: tuple[tuple[Array, ...], ...]
    whole: float
    bound: float

    def rounding(self, limits: Array) -> float:
        """Return more than the rounding of any sum at these prices: some fifty additions of 1.1e-16 each."""
        return 1e-13 * (1.0 + abs(self.whole) + float(np.abs(limits) @ self.prices.multipliers))


def complete(problem: Problem, grid: Grid, prices: Prices) -> Completion:
    """Return the completions of `grid` at `prices`."""
    after = [_head_values(problem, grid.channels[-1], prices)]
    inside: list[tuple[Array, ...]] = []
    for step in reversed(range(len(problem.space.strides))):
        stage = _inside_values(problem, grid, step, prices, after[0])
        inside.insert(0, stage)
        after.insert(0, _stage_values(problem, grid, step, prices, stage[1]))
    whole = float((stem_values(problem, grid.channels[0], prices) + after[0]).max())
    bound = whole + float(prices.multipliers @ problem.limits)
    return Completion(prices=prices, after_stage=tuple(after), inside=tuple(inside), whole=whole, bound=bound)


def stem_values(problem: Problem, channels: Array, prices: Prices) -> Array:
    """Return the value of each stem, shape [entry, channels], -inf where it does not fit before that entry."""
    weights, bonus = problem.score_weights
    priced = price_layer(problem.stem(channels), weights[0], prices)
    value = priced.fixed + priced.value(0) + prices.score * bonus[0] * problem.space.score.end_term(channels)
    return np.stack([np.where(stem_fits(problem, channels, width), value, -np.inf) for width in problem.entries])


def shapes_of_stage(problem: Problem, grid: Grid, step: int, rows: Array, columns: slice = slice(None)) -> BlockShapes:
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


def channel_bonus(problem: Problem, step: int, channels: Array, prices: Prices) -> Array:
    """Return what the width of a stage itself adds to the value, where a score stage ends with it."""
    found: Array = prices.score * problem.score_weights[1][step + 1] * problem.space.score.end_term(channels)
    return found


def _head_values(problem: Problem, channels: Array, prices: Prices) -> Array:
    weights, bonus = problem.score_weights
    score, costs = layer_totals(problem, problem.head(channels), weights[-1])
    value = prices.score * (score + bonus[-1] * problem.head_end) - costs @ prices.multipliers
    value = np.where(head_fits(problem, channels), value, -np.inf)
    classes = np.array([problem.entry(bits) for bits in problem.head_pairs.bits])
    return np.stack([value[:, classes == c].max(axis=1, initial=-np.inf) for c in range(len(problem.entries))])


def _inside_values(problem: Problem, grid: Grid, step: int, prices: Prices, leave: Array) -> tuple[Array, ...]:
    """Return, for 0 (unused), 1, 2... blocks done, the best of leaving the stage and of repeating the block."""
    space = problem.space
    channels = grid.channels[step + 1]
    shape = (len(problem.entries), channels.size, len(space.kernels), len(space.ratios))
    leaving = np.broadcast_to(leave[:, :, None, None], shape)
    depths = space.depths[step]
    repeat = np.array(-np.inf)
    # Where no block is repeated, a latency table need not have the times of one.
    if max(depths) > 1:
        repeat = best_values(problem, _repeated_blocks(problem, grid, step), prices)
    found = [np.full(shape, -np.inf) for _ in range(max(depths) + 1)]
    for depth in range(max(depths), 0, -1):
        if depth in depths:
            found[depth] = leaving
        if depth < max(depths):
            found[depth] = np.maximum(found[depth], (repeat + found[depth + 1]).max(axis=1))
    return tuple(found)


def _repeated_blocks(problem: Problem, grid: Grid, step: int) -> BlockShapes:
    """Return the further blocks of a stage, shape [channels, kernel, ratio]."""
    if step not in grid.repeats:
        space, channels = problem.space, grid.channels[step + 1][:, None, None]
        grid.repeats[step] = problem.blocks(
            step,
            first=False,
            in_channels=channels,
            out_channels=channels,
            kernel=np.array(space.kernels)[:, None],
            ratio=np.array(space.ratios),
        )
    return grid.repeats[step]


def _stage_values(problem: Problem, grid: Grid, step: int, prices: Prices, inside: Array) -> Array:
    """Return the best value from each width before the stage on, shape [entry, channels in]."""
    follow = inside + channel_bonus(problem, step, grid.channels[step + 1], prices)[:, None, None]
    found = np.full((len(problem.entries), grid.channels[step].size), -np.inf)
    for rows, columns, narrower, blocks in _strips(problem, grid, step):
        value = best_values(problem, blocks, prices)
        value += follow[:, None, columns]
        value[:, :, narrower] = -np.inf
        found[:, rows] = value.max(axis=(1, 3, 4, 5))
    return found


def _strips(problem: Problem, grid: Grid, step: int) -> list[tuple[slice, slice, Array, BlockShapes]]:
    if step not in grid.strips:
        into, out = grid.channels[step], grid.channels[step + 1]
        strips = []
        for start in range(0, into.size, STRIP):
            rows = slice(start, min(start + STRIP, into.size))
            # Channels never decrease: nothing narrower than the strip's first input can follow.
            columns = slice(int(np.searchsorted(out, into[start])), out.size)
            narrower = out[columns] < into[rows, None]
            if columns.start < out.size:
                strips.append((rows, columns, narrower, shapes_of_stage(problem, grid, step, into[rows], columns)))
        grid.strips[step] = strips
    return grid.strips[step]
