"""The multipliers: prices of the limits at which the relaxed problem's bound is lowest."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product

import numpy as np

from qedeploy.network.structure import Structure
from qedeploy.search.exact.completion import Completion, Grid, complete
from qedeploy.search.exact.label_setting import Walk
from qedeploy.search.exact.labels import Selector
from qedeploy.search.exact.master import Master
from qedeploy.search.exact.problem import Prices, Problem
from qedeploy.search.space.layers import Array

MAX_STEPS = 60


@dataclass(slots=True)
class Dual:
    """The dual of a problem: what `descend` last looked at, best bound first, and the structures and prices it met."""

    problem: Problem
    master: Master = field(init=False)
    completions: list[Completion] = field(default_factory=list)
    structures: list[Structure] = field(default_factory=list)
    prices: Prices | None = None

    def __post_init__(self) -> None:
        self.master = Master(self.problem.limits.size)

    def descend(self, grid: Grid, tolerance: float) -> None:
        """Lower the bound on `grid` until it is within `tolerance` of what the structures met allow.

        Every structure met on one grid is met on a finer one: the master carries over, the completions do not.
        """
        self.completions = []
        for _ in range(MAX_STEPS):
            completion = self._look(grid, self._next())
            if not np.isfinite(completion.whole) or self.completions[0].bound - self.master.value <= tolerance:
                return

    def prices_nearby(self, spread: float) -> list[Array]:
        """Return the multipliers of limits moved by this share: every combination up to three limits, else singly."""
        count = self.problem.limits.size
        if count <= 3:
            moves = [np.array(signs) for signs in product((-1, 0, 1), repeat=count) if any(signs)]
        else:
            moves = [sign * row for row in np.eye(count) for sign in (-1, 1)]
        return [self.master.multipliers_at(1 + spread * move) / self._scale for move in moves]

    def _look(self, grid: Grid, multipliers: Array) -> Completion:
        problem = self.problem
        self.prices = Prices(multipliers=multipliers)
        completion = complete(problem, grid, self.prices)
        self.completions = sorted([*self.completions, completion], key=lambda found: found.bound)
        if np.isfinite(completion.whole):
            # Sums in another order differ by their rounding: the best structure is read back within it.
            least = completion.bound - 2 * completion.rounding(problem.limits)
            selector = Selector([completion], problem.limits, least, 1, within_limits=False)
            walk = Walk(problem, grid, selector)
            best = walk.run()
            self.structures.append(walk.structure(int(best.ident[0])))
            self.master.add(float(best.score[0]), best.costs[0] / self._scale)
        return completion

    @property
    def _scale(self) -> Array:
        limits = self.problem.limits
        return np.where(limits > 0, limits, 1.0)

    def _next(self) -> Array:
        if not self.structures:
            return np.zeros(self.problem.limits.size)
        return self.master.multipliers / self._scale
