"""Score and costs of many structures at once, from arrays of their shapes and widths.

Tests hold them equal to what `network.costs` and a score's own `of` say of each structure alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from qedeploy.search.costs.budget import Budget
from qedeploy.search.costs.population import Population, Shapes, StageLayers
from qedeploy.search.space.layers import Array, Pairs
from qedeploy.search.space.space import SearchSpace
from qedeploy.search.space.space_layers import SpaceLayers, block_bits


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """Score and costs of N structures, each array [N]."""

    score: Array
    costs: dict[Budget, Array]


class Meter:
    """What structures of one space score and cost."""

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self.block_bits = block_bits(space)
        self._made = SpaceLayers(space)
        self._strides = (space.stem_stride, *space.strides, 1)
        self._weights, self._ends = space.score.weights(self._strides)
        self._block_terms = [np.append(self._pair_terms(pairs), 0.0) for pairs in self._made.block_pairs]
        self._stem_term = self._pair_terms(self._made.stem_pairs)[0]
        self._head_terms = self._pair_terms(self._made.head_pairs)

    def measure(self, shapes: Shapes, budgets: Iterable[Budget]) -> Measures:
        """Return the score of N structures and their costs of `budgets`."""
        population = Population(self._made, shapes)
        costs = {budget: budget.costs(self.space, population) for budget in budgets}
        return Measures(score=self._score(population), costs=costs)

    def _score(self, population: Population) -> Array:
        score, shapes = self.space.score, population.shapes
        outs = [shapes.stem, *shapes.channels, np.array(self.space.head_channels)]
        weights = score.population_weights(self._strides, self.space.resolution, outs)
        total = np.zeros(population.count)
        total += weights[0] * (score.shape_term(population.stem) + self._stem_term)
        for number, stage in enumerate(population.stages, start=1):
            if self._weights[number]:
                total += weights[number] * self._stage(stage)
        total += weights[-1] * (score.shape_term(population.head) + self._head_terms[shapes.head])
        for end, out in zip(self._ends, outs, strict=True):
            if end:
                total += end * score.end_term(out)
        return total

    def _stage(self, stage: StageLayers) -> Array:
        found = np.zeros(stage.depth.size)
        shape_term = self.space.score.shape_term
        rows = zip(stage.first, stage.rest, stage.chosen, self._block_terms, strict=True)
        for first, rest, chosen, terms in rows:
            found += shape_term(first) + (stage.depth - 1) * shape_term(rest) + terms[chosen].sum(axis=0)
        return found

    def _pair_terms(self, pairs: Pairs) -> Array:
        return np.array([self.space.score.pair_term(pairs.kind, bits) for bits in pairs.bits])
