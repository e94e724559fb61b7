"""The front of score against one budget: every structure that no other one beats in both.

Each point is an exact search: the best structure at a limit, then the next limit in the widest gap between two points.
A gap is empty when the best structure just below its upper end is its lower end; when all gaps are, the front is whole.
Between two points of an unfinished front, no structure scores more than the upper one: the steps of the plot enclose
the front.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from qedeploy.errors import RequestError
from qedeploy.network.document import to_document
from qedeploy.network.structure import Structure
from qedeploy.search.exact.certificate import CLOSED
from qedeploy.search.exact.problem import Problem
from qedeploy.search.exact.solver import solve
from qedeploy.search.feasibility import minimum_cost
from qedeploy.search.result import budget_costs
from qedeploy.search.space import BudgetKind, Budgets, SearchSpace

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


def front(space: SearchSpace, budgets: Budgets, kind: BudgetKind, *, points: int) -> Front:
    """Return at most `points` of the front of score against `kind`, its two ends first, the other budgets kept.

    Where `budgets` limit `kind`, the front ends there. Raises RequestError where nothing fits at all.
    """
    others = {other: limit for other, limit in budgets.items() if other is not kind}

    def best(limit: float) -> Point | None:
        try:
            return _best(space, {**others, kind: limit} if math.isfinite(limit) else others, kind)
        except RequestError:
            return None

    last = _best(space, budgets, kind)
    first, exact = _first(best, minimum_cost(space, kind), last)
    found = {first.cost: first, last.cost: last}
    empty: set[float] = set()
    while len(found) < points and (gaps := _gaps(found, empty)):
        low, high = max(gaps, key=lambda gap: _span(found[gap[0]], found[gap[1]]))
        middle = best(math.sqrt(low * high))
        if middle is None or middle.cost <= low:
            # Nothing new in the lower part of the gap: look just below its upper end, which narrows or settles it.
            middle = best(math.nextafter(high, 0.0))
        if middle is None or middle.cost <= low:
            empty.add(high)
        else:
            found[middle.cost] = middle
    whole = exact and not _gaps(found, empty)
    return Front(kind=kind, points=_undominated(found), whole=whole)


def _span(low: Point, high: Point) -> float:
    # Seen on a plot with a logarithmic axis of costs: what a gap hides there.
    return (high.score - low.score) * math.log(high.cost / low.cost)


def _gaps(found: Mapping[float, Point], empty: set[float]) -> list[tuple[float, float]]:
    return [(low, high) for low, high in pairwise(sorted(found)) if high not in empty]


def _first(best: Callable[[float], Point | None], least: float, last: Point) -> tuple[Point, bool]:
    """Return the cheapest point, and whether it costs the least that is possible (else nearly that)."""
    found = best(least)
    if found is not None:
        return found, True
    # The other budgets do not allow the least cost of all: close in on the least that they do allow.
    low, found = least, last
    while found.cost > low * CLOSE:
        tried = best(math.sqrt(low * found.cost))
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
