"""The front of score against one budget: every structure that no other one beats in both.

Each point is an exact search: the best structure at a limit, then the next limit in the widest gap between two points.
A gap is empty when the best structure just below its upper end is its lower end; when all gaps are, the front is whole.
Between two points of an unfinished front, no structure scores more than the upper one: the steps of the plot enclose
the front.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from qedeploy.errors import RequestError, UserError
from qedeploy.network.structure import Structure
from qedeploy.network.structure_file import to_document
from qedeploy.search.costs.budget import Budget
from qedeploy.search.costs.registry import Budgets
from qedeploy.search.exact.certificate import CLOSED, ProofStatus
from qedeploy.search.exact.problem import Problem
from qedeploy.search.exact.solver import UndecidedError, solve
from qedeploy.search.space.space import SearchSpace

WAVE = 4
"""Gaps that are looked into at once: more would spend points where fewer are needed."""

CLOSE = 1.01
"""How near to the least cost the front begins, where the other budgets do not allow the least of all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontPoint:
    """A structure of the front: no other within the other budgets costs as little and scores above `upper_bound`."""

    cost: float
    score: float
    upper_bound: float
    structure: Structure

    @property
    def proven(self) -> bool:
        """Whether none scores more at all."""
        return self.upper_bound - self.score <= CLOSED


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """Points by rising cost; `whole` says that there are no others, `interrupted` that Ctrl-C left some unsought."""

    kind: Budget
    points: tuple[FrontPoint, ...]
    whole: bool
    interrupted: bool = False

    def document(self) -> dict[str, Any]:
        """Return the front as JSON-ready data."""
        points = [
            {"cost": p.cost, "score": p.score, "upper_bound": p.upper_bound, "structure": to_document(p.structure)}
            for p in self.points
        ]
        return {"format": "qedeploy-front/1", "budget": self.kind.name, "whole": self.whole, "points": points}


def front(
    space: SearchSpace,
    budgets: Budgets,
    kind: Budget,
    *,
    points: int,
    workers: int = 1,
    cluster: str | None = None,
) -> Front:
    """Return at most `points` of the front of score against `kind`, its two ends first, the other budgets kept.

    Where `budgets` limit `kind`, the front ends there. Points are found in waves of several gaps at once, by `workers`
    processes or on `cluster`, the address of a Dask scheduler; the front is the same whoever finds it. Ctrl-C ends it
    with the points so far. Raises RequestError where nothing fits at all, KeyboardInterrupt where Ctrl-C came before
    its two ends were found.
    """
    from qedeploy.executors import open_workers, run_jobs

    search = _Search(space, {other: limit for other, limit in budgets.items() if other != kind}, kind)
    last = _best(space, budgets, kind)
    first, exact = _first(search, kind.least(space), last)
    found = {first.cost: first, last.cost: last}
    settled: dict[float, bool] = {}
    interrupted = False
    try:
        with open_workers(min(workers, WAVE) if workers > 1 else 0, cluster) as opened:
            while len(found) < points and (gaps := _gaps(found, settled)):
                widest = sorted(gaps, key=lambda gap: -_span(found[gap[0]], found[gap[1]]))
                wave = widest[: min(WAVE, points - len(found))]
                for outcome in run_jobs(opened, search.between, wave):
                    if outcome.lost:
                        raise UserError(
                            "a worker died twice on one point (out of memory?); repeat the command with fewer"
                        )
                    if isinstance(outcome.result, bool):
                        settled[outcome.job[1]] = outcome.result
                    elif outcome.result is not None:
                        found[outcome.result.cost] = outcome.result
    except KeyboardInterrupt:
        interrupted = True
    proven = all(point.proven for point in found.values()) and all(settled.values())
    whole = exact and proven and not _gaps(found, settled)
    return Front(kind=kind, points=_undominated(found), whole=whole, interrupted=interrupted)


@dataclass(frozen=True, slots=True)
class _Search:
    """Searches of one front: everything but the limit of its budget, which is what changes."""

    space: SearchSpace
    others: Budgets
    kind: Budget

    def best(self, limit: float) -> FrontPoint | None:
        """Return the best structure at a limit, None where nothing fits; UndecidedError where neither is known."""
        limits = {**self.others, self.kind: limit} if math.isfinite(limit) else self.others
        try:
            return _best(self.space, limits, self.kind)
        except UndecidedError:
            raise
        except RequestError:
            return None

    def between(self, gap: tuple[float, float]) -> FrontPoint | bool:
        """Return a point whose cost lies between two; else whether it is proven that there is none."""
        low, high = gap
        try:
            found = self.best(math.sqrt(low * high))
            if found is None or found.cost <= low:
                # Nothing new in the lower part of the gap: look just below its upper end, which narrows or settles it.
                found = self.best(math.nextafter(high, 0.0))
        except UndecidedError:
            return False
        return found if found is not None and found.cost > low else found is None or found.proven


def _span(low: FrontPoint, high: FrontPoint) -> float:
    # Seen on a plot with a logarithmic axis of costs: what a gap hides there.
    return (high.score - low.score) * math.log(high.cost / low.cost)


def _gaps(found: Mapping[float, FrontPoint], settled: Mapping[float, bool]) -> list[tuple[float, float]]:
    return [(low, high) for low, high in pairwise(sorted(found)) if high not in settled]


def _first(search: _Search, least: float, last: FrontPoint) -> tuple[FrontPoint, bool]:
    """Return the cheapest point, and whether it costs the least that is possible (else nearly that)."""
    low, found = least, last
    try:
        cheapest = search.best(least)
        if cheapest is not None:
            return cheapest, True
        # The other budgets do not allow the least cost of all: close in on the least that they do allow.
        while found.cost > low * CLOSE:
            tried = search.best(math.sqrt(low * found.cost))
            if tried is None:
                low = math.sqrt(low * found.cost)
            else:
                found = tried
    except UndecidedError:
        # Below this nothing is known to fit and nothing is excluded.
        pass
    return found, False


def _best(space: SearchSpace, budgets: Budgets, kind: Budget) -> FrontPoint:
    solution = solve(Problem.of(space, budgets))
    if solution.certificate.status is ProofStatus.INTERRUPTED:
        raise KeyboardInterrupt
    best = solution.found[0]
    return FrontPoint(
        cost=kind.cost(best.structure, space),
        score=best.score,
        upper_bound=solution.certificate.upper_bound,
        structure=best.structure,
    )


def _undominated(found: Mapping[float, FrontPoint]) -> tuple[FrontPoint, ...]:
    """Return the points by rising cost without those that score no more than a cheaper one."""
    kept: list[FrontPoint] = []
    for cost in sorted(found):
        if not kept or found[cost].score > kept[-1].score + CLOSED:
            kept.append(found[cost])
    return tuple(kept)
