"""The best structure at given prices, read back from the completions: at each state the choice that they were made of.

Where two choices are nearer to each other than rounding, which of them is best is not for this route to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np

from qedeploy.search.exact.blocks import best_values
from qedeploy.search.exact.completion import ChannelGrid, Completion, channel_bonus, stem_values
from qedeploy.search.exact.costs import SolverLayers
from qedeploy.search.exact.moves import HEAD_MOVE, REPEAT, STEM_MOVE, Move
from qedeploy.search.exact.problem import BlockShapes, Prices, Problem
from qedeploy.search.space.layers import Array


class TieError(Exception):
    """Two choices are as good as each other, but for rounding."""


@dataclass(frozen=True, slots=True)
class BestPath:
    """The moves of a structure, its score and its costs, added up in the order in which blocks follow each other."""

    moves: list[Move]
    score: float
    costs: Array


def best_path(problem: Problem, grid: ChannelGrid, completion: Completion) -> BestPath | None:
    """Return the structure of the highest value at the completion's prices, None where it has an equal.

    For problems without a limit of peak memory: a block's widths then depend on its shape alone.
    """
    try:
        return _Reader(problem, grid, completion).path()
    except TieError:
        return None


class _Reader:
    def __init__(self, problem: Problem, grid: ChannelGrid, completion: Completion) -> None:
        self.problem, self.grid, self.completion = problem, grid, completion
        self.prices = completion.prices
        # Each sum that is compared may be off by its rounding, upwards or downwards.
        self.near = 8 * completion.rounding(problem.limits)

    def path(self) -> BestPath:
        problem, grid, space = self.problem, self.grid, self.problem.space
        score, costs = grid.stem_totals(problem)
        channel = self._best(stem_values(problem, grid, self.prices)[0] + self.completion.after_stage[0][0])
        total, spent = float(score[channel, 0]), costs[channel, 0]
        moves: list[Move] = [(channel, *STEM_MOVE)]
        for step in range(len(space.strides)):
            blocks, at, numbers = self._first_block(step, channel)
            channel, weight = numbers[0], problem.score_weights[0][step + 1]
            pairs, gain, added = self._widths(blocks, at, weight)
            bonus = float((problem.score_weights[1][step + 1] * grid.end_terms(problem, step + 1))[channel])
            total, spent = total + gain + bonus, spent + added
            moves.append((*numbers, *pairs))
            repeats = self._repeats(step, numbers)
            if repeats:
                pairs, gain, added = self._widths(grid.repeated_blocks(problem, step), numbers, weight)
            for _ in range(repeats):
                total, spent = total + gain, spent + added
                moves.append((*REPEAT, *pairs))
        score, costs = grid.head_totals(problem)
        row = self.prices.score * score[channel] - costs[channel] @ self.prices.multipliers
        head = self._best(row)
        moves.append((*HEAD_MOVE[:3], head, *HEAD_MOVE[4:]))
        return BestPath(moves, total + float(score[channel, head]), spent + costs[channel, head])

    def _first_block(self, step: int, into: int) -> tuple[BlockShapes, tuple[int, ...], tuple[int, int, int]]:
        """Return the best first block of a stage behind `into`: where it lies in which blocks, and its numbers."""
        problem, grid = self.problem, self.grid
        rows, columns, narrower, blocks = next(strip for strip in grid.strips(problem, step) if into < strip[0].stop)
        row = into - rows.start
        value = best_values(problem, blocks.row(row), self.prices)[0, 0, 0]
        bonus = channel_bonus(problem, grid, step, self.prices)[:, None, None]
        value += (self.completion.inside[step][1][0] + bonus)[columns]
        value[narrower[row]] = -inf
        near = np.argwhere(value >= value.max() - self.near)
        middles = np.broadcast_to(blocks.bottleneck, (1, *value.shape))[0]
        # Two ratios may round to one bottleneck: whichever is taken, the block is the same.
        if len({(out, kernel, int(middles[out, kernel, ratio])) for out, kernel, ratio in near.tolist()}) > 1:
            raise TieError
        out, kernel, ratio = near[0].tolist()
        numbers = out + columns.start, kernel, ratio
        return blocks, (row, out, kernel, ratio), numbers

    def _repeats(self, step: int, numbers: tuple[int, int, int]) -> int:
        """Return how often the block of a stage is best repeated."""
        depths = self.problem.space.depths[step]
        leaving = float(self.completion.after_stage[step + 1][0][numbers[0]])
        again = float(np.asarray(self.completion.repeats[step])[(0, 0, *numbers)]) if max(depths) > 1 else -inf
        for depth in range(1, max(depths)):
            staying = again + float(self.completion.inside[step][depth + 1][(0, *numbers)])
            if depth in depths:
                if abs(staying - leaving) <= self.near:
                    raise TieError
                if leaving > staying:
                    return depth - 1
        return max(depths) - 1

    def _widths(
        self, blocks: BlockShapes, at: tuple[int, ...], weight: float
    ) -> tuple[tuple[int, int, int], float, Array]:
        """Return the best pairs of one block's layers, with what it adds to score and costs."""
        layers = [_One(found, at, weight, self.prices) for found in blocks.layers]
        indices = self.problem.groups[0].indices
        values = [one.values()[index] for one, index in zip(layers, indices, strict=True)]
        if not self.problem.widths_per_layer:
            values = [values[0] + values[1] + values[2]] * 3
        expand, depthwise, project = (
            int(index[self._best(value)]) for value, index in zip(values, indices, strict=True)
        )
        pairs, score, costs = (expand, depthwise, project), 0.0, np.zeros(len(self.problem.costs))
        for one, pair in zip(layers, pairs, strict=True):
            score += one.score(pair)
            one.add_costs(pair, costs)
        return pairs, score, costs

    def _best(self, values: Array) -> int:
        best = int(values.argmax())
        if np.count_nonzero(values >= values[best] - self.near) > 1:
            raise TieError
        return best


class _One:
    """One layer of many, in plain numbers."""

    def __init__(self, layers: SolverLayers, at: tuple[int, ...], weight: float, prices: Prices) -> None:
        self._weight, self._entropy, self._gains = weight, _at(layers.entropy, at), layers.gains
        self._parts = [[(_at(part.shape, at), part.factor) for part in parts] for parts in layers.costs]
        self._prices, self._worth = prices.multipliers.tolist(), prices.score * weight

    def values(self) -> Array:
        """Return what each pair is worth, but for what all pairs of the layer are."""
        found = self._worth * self._gains
        for price, parts in zip(self._prices, self._parts, strict=True):
            if price:
                found = found - price * sum(shape * factor for shape, factor in parts)
        return found

    def score(self, pair: int) -> float:
        """Return what the layer adds to the score."""
        return self._weight * (self._entropy + float(self._gains[pair]))

    def add_costs(self, pair: int, costs: Array) -> None:
        """Add what the layer costs, part after part."""
        for number, parts in enumerate(self._parts):
            for shape, factor in parts:
                costs[number] += shape * factor[pair]


def _at(values: Array, at: tuple[int, ...]) -> float:
    """Return one of `values`, which broadcast to more axes than they have."""
    index = at[len(at) - values.ndim :] if values.ndim else ()
    return float(values[tuple(0 if size == 1 else number for size, number in zip(values.shape, index, strict=True))])
