"""The exact search: multipliers first, then labels until nothing is left that could be better."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from qedeploy.errors import RequestError
from qedeploy.network.structure import Structure
from qedeploy.search.costs.feasibility import require_feasible
from qedeploy.search.exact.certificate import CLOSED, Certificate, ProofStatus
from qedeploy.search.exact.completion import ChannelGrid, Completion, complete
from qedeploy.search.exact.dual import Dual
from qedeploy.search.exact.infeasible import lowest_score, refuse_exhausted, refuse_if_infeasible
from qedeploy.search.exact.label_setting import LabelSetting
from qedeploy.search.exact.labels import EffortSpentError, Selector
from qedeploy.search.exact.problem import Prices, Problem
from qedeploy.search.score.score import require_additive

FIRST_DEPTH = 0.05
FIRST_WIDTH = 2000
EFFORT = 15_000_000
"""Extensions of labels after which the search leaves a gap open: some twenty seconds."""

COARSE = (16, 4)
"""Grids to find multipliers on before all channels are looked at: every nth channel."""

FEWEST_CHANNELS = 8
ROUGH, FINE = 1e-2, 1e-3
"""How near the dual bound comes to its lowest, in score: labels close the rest more cheaply."""

REMEMBERED, REACH = 4, 6
ROUNDING = 5e-10
DEEP = 64.0
NOTHING_YET = (
    "no structure that keeps all budgets was found among {labels} partial structures, and none was excluded either: "
    "loosen a budget"
)

QUICK = 1000
"""Labels up to which a deeper walk costs less than looking for a better threshold first."""

DIVES = ((0.03, 300), (0.3, 300))

EASY = 50_000
"""Labels beyond which more prices are worth their time."""

SPREAD = 0.1
"""How far limits are moved, as a share, to find prices for labels that have used more or less than their share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A structure with its score."""

    structure: Structure
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """The best structures, best first, and the certificate of the first."""

    found: tuple[Found, ...]
    certificate: Certificate


class UndecidedError(RequestError):
    """The search ended with nothing found and nothing excluded either (exit code 3)."""


Progress = Callable[[float, float, int], None]
"""Called with the best score, the upper bound and the number of labels after each round."""


def solve(problem: Problem, *, count: int = 1, effort: int = EFFORT, progress: Progress | None = None) -> Solution:
    """Return the best structure of `problem` and its certificate; with `count`, the best of as many shapes.

    Two structures share a shape when stem, channels, bottlenecks, kernels and depths agree, whatever their widths: so
    no two of the list are alike in everything but a bit. The list is shorter where the space has fewer shapes that
    fit. After `effort` extensions of labels, or on Ctrl-C, the best structure so far comes with its proven gap.

    Raises RequestError, with the proof in the message, where nothing fits; UndecidedError where that is not proven
    either; KeyboardInterrupt where Ctrl-C came before anything was found.
    """
    require_additive(problem.space.score, "exact")
    search = Search(problem, count, effort, progress)
    status = ProofStatus.FEASIBLE
    try:
        search.bound()
        search.close()
    except EffortSpentError:
        pass
    except KeyboardInterrupt:
        search.settle()
        if not search.best:
            raise
        status = ProofStatus.INTERRUPTED
    return search.solution(status)


@dataclass(slots=True)
class Search:
    """The state of one exact search: what is known from below (`best`) and from above (`upper_bound`)."""

    problem: Problem
    count: int
    effort: int
    progress: Progress | None
    best: dict[object, Found] = field(default_factory=dict)
    upper_bound: float = np.inf
    labels: int = 0
    looked: int = 0
    completions: list[Completion] = field(default_factory=list)
    dual: Dual = field(init=False)
    grid: ChannelGrid = field(init=False)

    def __post_init__(self) -> None:
        self.dual = Dual(self.problem)
        self.grid = ChannelGrid.of(self.problem)

    @property
    def known(self) -> float:
        """The score that a structure must beat to enter the list."""
        return min(found.score for found in self.best.values()) if len(self.best) == self.count else -np.inf

    def bound(self) -> None:
        """Find the multipliers: on coarse grids first, then near what those chose, then on all channels."""
        if (self.problem.limits <= 0).any():
            # What every structure pays is a latency's limit already.
            require_feasible(self.problem.space, self.problem.budgets)
        for every in COARSE:
            if len(self.problem.space.channels) > FEWEST_CHANNELS * every:
                self.dual.descend(ChannelGrid.of(self.problem, every), ROUGH)
        if self.dual.structures:
            self.dual.descend(self.grid.around(self.dual.structures[-REMEMBERED:], REACH), FINE)
        self.dual.descend(self.grid, FINE)
        self.completions = list(self.dual.completions)
        self.upper_bound = self.completions[0].bound
        if not np.isfinite(self.completions[0].whole) or self.dual.master.breaks_limits:
            refuse_if_infeasible(self.problem, self.grid, self.completions[0].prices.multipliers)
        for structure in self.dual.structures:
            self._offer(structure)
        self._report()

    def close(self) -> None:
        """Walk with labels, deeper below the bound or wider each time, until nothing better can be left.

        Raises RequestError where the labels are exhausted and nothing fits.
        """
        depth, width, lowest = FIRST_DEPTH, FIRST_WIDTH, -np.inf
        # More prices cost as many times more as there are groups of widths to tell apart.
        groups = len(self.problem.groups)
        while True:
            threshold = max(self.known, self.completions[0].bound - depth)
            selector = self._walk(threshold, width)
            complete_walk = selector.dropped <= threshold
            self.upper_bound = min(self.upper_bound, max(threshold, selector.dropped))
            self._report()
            if complete_walk and self.known >= threshold:
                return
            if complete_walk and depth > DEEP:
                lowest = max(lowest, lowest_score(self.problem, self.grid))
            if complete_walk and threshold < lowest:
                refuse_exhausted(self.problem, self.best, self.labels)
                return
            if selector.made > EASY * groups or (not complete_walk and width >= FIRST_WIDTH * groups):
                self._spread()
            if threshold > self.known and (selector.made > QUICK or not complete_walk):
                self._dive()
            depth, width = (depth * 2, width) if complete_walk else (depth, width * 4)

    def settle(self) -> None:
        """Make of what an interrupted search has met a structure, where one keeps the limits, and a proven bound."""
        if not self.completions and self.dual.prices is not None:
            # Prices found on some channels prove a bound on all of them, once those are looked at.
            self.completions = [complete(self.problem, self.grid, self.dual.prices)]
            self.upper_bound = self.completions[0].bound
        for structure in self.dual.structures:
            self._offer(structure)
        if self.completions and not self.best:
            with suppress(EffortSpentError):
                self._dive()

    def solution(self, status: ProofStatus) -> Solution:
        """Return what is known; the status becomes `optimal` where the gap is closed."""
        found = tuple(sorted(self.best.values(), key=lambda item: -item.score))
        if not found:
            raise UndecidedError(NOTHING_YET.format(labels=self.labels))
        score = found[0].score
        upper = max(self.upper_bound, score + ROUNDING)
        main = self.completions[0]
        names = [cost.name for cost in self.problem.costs]
        prices = [dict(zip(names, c.prices.multipliers.tolist(), strict=True)) for c in self.completions]
        certificate = Certificate(
            score=score,
            upper_bound=upper,
            status=ProofStatus.OPTIMAL if upper - score <= CLOSED else status,
            multipliers=prices[0],
            prices=tuple(prices),
            relaxed_bound=main.bound,
            labels=self.labels,
        )
        return Solution(found=found, certificate=certificate)

    def _dive(self) -> None:
        """Look for a better structure among nearly best choices only."""
        for regret, width in DIVES:
            self._walk(self.known, width, regret)

    def _walk(self, threshold: float, width: int, regret: float = np.inf) -> Selector:
        effort = self.effort - self.looked
        selector = Selector(self.completions, self.problem.limits, threshold, width, effort=effort, regret=regret)
        walk = LabelSetting(self.problem, self.grid, selector, by_shape=self.count > 1)
        try:
            ends = walk.run()
        finally:
            self.labels += selector.made
            self.looked += selector.looked
        accepted = set()
        for ident in ends.ident.tolist():
            structure = walk.structure(ident)
            if self._offer(structure):
                # Two ratios may round to one bottleneck: shapes are counted, not labels.
                accepted.add(shape_of(structure))
            if len(accepted) == self.count:
                break
        return selector

    def _offer(self, structure: Structure) -> bool:
        """Take a structure that keeps the limits into the list, if it is good enough; says whether it keeps them."""
        if not self.problem.satisfied(structure):
            return False
        key = shape_of(structure) if self.count > 1 else None
        score = self.problem.space.score.of(structure)
        if key not in self.best or self.best[key].score < score:
            self.best[key] = Found(structure=structure, score=score)
        if len(self.best) > self.count:
            del self.best[min(self.best, key=lambda other: self.best[other].score)]
        return True

    def _spread(self) -> None:
        """Add completions at the prices of slightly larger and smaller limits, once."""
        main = self.completions[0]
        if len(self.completions) > len(self.dual.completions) or not self.problem.costs:
            return
        for prices in self.dual.prices_nearby(SPREAD):
            if not any(np.allclose(prices, other.prices.multipliers, rtol=1e-3, atol=0) for other in self.completions):
                self.completions.append(complete(self.problem, self.grid, Prices(multipliers=prices)))
        self.completions.sort(key=lambda found: (found is not main, found.bound))

    def _report(self) -> None:
        if self.progress is not None:
            self.progress(
                max((found.score for found in self.best.values()), default=-np.inf), self.upper_bound, self.labels
            )


def shape_of(structure: Structure) -> tuple[object, ...]:
    """Return all of a structure but its widths."""
    stages = ((s.out_channels, s.bottleneck_channels, s.kernel, len(s.blocks)) for s in structure.stages)
    return (structure.stem.out_channels, *stages)
