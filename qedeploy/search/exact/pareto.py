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
from qedeploy.executors import open_workers, run_jobs
from qedeploy.network.document import to_document
from qedeploy.network.structure import Structure
from qedeploy.search.exact.certificate import CLOSED
from qedeploy.search.exact.problem import Problem
from qedeploy.search.exact.solver import solve
from qedeploy.search.feasibility import minimum_cost
from qedeploy.search.result import budget_costs
from qedeploy.search.space import BudgetKind, Budgets, SearchSpace

WAVE = 4
"""Gaps that are looked into at once: more would spend points where fewer are needed."""

CLOSE = 1.01
"""How near to the least cost the front begins, where the other budgets do not allow the least of all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A structure of the front: no other within the other budgets costs as little and scores more."""

    cost: float
    score: float
    upper_bound: float
    structure: Structure


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """Points by rising cost; `whole` says that there are no others."""

    kind: BudgetKind
    points: tuple[Point, ...]
    whole: bool

    def document(self) -> dict[str, Any]:
        """Return the front as JSON-ready data."""
        points = [
            {"cost": p.cost, "score": p.score, "upper_bound": p.upper_bound, "structure": to_document(p.structure)}
            for p in self.points
        ]
        return {"format": "qedeploy-front/1", "budget": self.kind.value, "whole": self.whole, "points": points}


def front(
    space: SearchSpace,
    budgets: Budgets,
    kind: BudgetKind,
    *,
    points: int,
    workers: int = 1,
    cluster: str | None = None,
) -> Front:
    """Return at most `points` of the front of score against `kind`, its two ends first, the other budgets kept.

    Where `budgets` limit `kind`, the front ends there. Points are found in waves of several gaps at once, by `workers`
    processes or on `cluster`, the address of a Dask scheduler; the front is the same whoever finds it. Raises
    RequestError where nothing fits at all.
    """
    search = _Search(space, {other: limit for other, limit in budgets.items() if other is not kind}, kind)
    last = _best(space, budgets, kind)
    first, exact = _first(search, minimum_cost(space, kind), last)
    found = {first.cost: first, last.cost: last}
    empty: set[float] = set()
    with open_workers(min(workers, WAVE) if workers > 1 else 0, cluster) as opened:
        while len(found) < points and (gaps := _gaps(found, empty)):
            widest = sorted(gaps, key=lambda gap: -_span(found[gap[0]], found[gap[1]]))
            wave = widest[: min(WAVE, points - len(found))]
            for outcome in run_jobs(opened, search.between, wave):
                if outcome.lost:
                    raise UserError("a worker died twice on one point (out of memory?); repeat the command with fewer")
                if outcome.result is None:
                    empty.add(outcome.job[1])
                else:
                    found[outcome.result.cost] = outcome.result
    whole = exact and not _gaps(found, empty)
    return Front(kind=kind, points=_undominated(found), whole=whole)


@dataclass(frozen=True, slots=True)
class _Search:
    """Searches of one front: everything but the limit of its budget, which is what changes."""

    space: SearchSpace
    others: Budgets
    kind: BudgetKind

    def best(self, limit: float) -> Point | None:
        """Return the best structure at a limit, None where nothing fits."""
        limits = {**self.others, self.kind: limit} if math.isfinite(limit) else self.others
        try:
            return _best(self.space, limits, self.kind)
        except RequestError:
            return None

    def between(self, gap: tuple[float, float]) -> Point | None:
        """Return a point whose cost lies between two, None where there is none."""
        low, high = gap
        found = self.best(math.sqrt(low * high))
        if found is None or found.cost <= low:
            # Nothing new in the lower part of the gap: look just below its upper end, which narrows or settles it.
            found = self.best(math.nextafter(high, 0.0))
        return None if found is None or found.cost <= low else found


def _span(low: Point, high: Point) -> float:
    # Seen on a plot with a logarithmic axis of costs: what a gap hides there.
    return (high.score - low.score) * math.log(high.cost / low.cost)


def _gaps(found: Mapping[float, Point], empty: set[float]) -> list[tuple[float, float]]:
    return [(low, high) for low, high in pairwise(sorted(found)) if high not in empty]


def _first(search: _Search, least: float, last: Point) -> tuple[Point, bool]:
    """Return the cheapest point, and whether it costs the least that is possible (else nearly that)."""
    found = search.best(least)
    if found is not None:
        return found, True
    # The other budgets do not allow the least cost of all: close in on the least that they do allow.
    low, found = least, last
    while found.cost > low * CLOSE:
        tried = search.best(math.sqrt(low * found.cost))
        if tried is None:
            low = math.sqrt(low * found.cost)
        else:
            found = tried
    return found, False


def _best(space: SearchSpace, budgets: Budgets, kind: BudgetKind) -> Point:
    solution = solve(Problem.of(space, budgets))
    best = solution.found[0]
    return Point(
        cost=budget_costs(best.structure, space)[kind],
        score=best.score,
        upper_bound=solution.certificate.upper_bound,
        structure=best.structure,
    )


def _undominated(found: Mapping[float, Point]) -> tuple[Point, ...]:
    """Return the points by rising cost without those that score no more than a cheaper one."""
    kept: list[Point] = []
    for cost in sorted(found):
        if not kept or found[cost].score > kept[-1].score + CLOSED:
            kept.append(found[cost])
    return tuple(kept)
