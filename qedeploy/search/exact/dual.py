"""The multipliers: prices of the limits at which the relaxed problem's bound is lowest."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product

import numpy as np

from qedeploy.network.structure import Structure
from qedeploy.search.exact.best_path import best_path
from qedeploy.search.exact.completion import ChannelGrid, Completion, complete
from qedeploy.search.exact.label_setting import LabelSetting
from qedeploy.search.exact.labels import Selector
from qedeploy.search.exact.master import Master
from qedeploy.search.exact.moves import structure_from_moves
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

    def descend(self, grid: ChannelGrid, tolerance: float) -> None:
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

    def _look(self, grid: ChannelGrid, multipliers: Array) -> Completion:
        self.prices = Prices(multipliers=multipliers)
        completion = complete(self.problem, grid, self.prices)
        self.completions = sorted([*self.completions, completion], key=lambda found: found.bound)
        if np.isfinite(completion.whole):
            self._meet(grid, completion)
        return completion

    def _meet(self, grid: ChannelGrid, completion: Completion) -> None:
        """Take the best structure at the completion's prices into the master."""
        problem = self.problem
        found = best_path(problem, grid, completion) if problem.peak_memory is None else None
        if found is not None:
            self.structures.append(structure_from_moves(problem, grid, found.moves))
            self.master.add(found.score, found.costs / self._scale)
            return
        # Sums in another order differ by their rounding: the best structure is read back within it.
        least = completion.bound - 2 * completion.rounding(problem.limits)
        walk = LabelSetting(problem, grid, Selector([completion], problem.limits, least, 1, within_limits=False))
        best = walk.run()
        self.structures.append(walk.structure(int(best.ident[0])))
        self.master.add(float(best.score[0]), best.costs[0] / self._scale)

    @property
    def _scale(self) -> Array:
        limits = self.problem.limits
        return np.where(limits > 0, limits, 1.0)

    def _next(self) -> Array:
        if not self.structures:
            return np.zeros(self.problem.limits.size)
        return self.master.multipliers / self._scale
