"""The exact search of a request: from what a user asks to a SearchResult with its certificate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from qedeploy.errors import UserError
from qedeploy.network.structure_file import to_document
from qedeploy.search.costs.budget import Budget
from qedeploy.search.costs.registry import all_budgets, budget_named
from qedeploy.search.exact.problem import Problem
from qedeploy.search.exact.solver import EFFORT, Progress, Solution, solve
from qedeploy.search.methods import EXACT
from qedeploy.search.request import Request
from qedeploy.search.result import SearchResult


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where an exact search stands: the best score so far, what none can exceed, labels (partial structures) kept."""

    score: float
    upper_bound: float
    labels: int

    @classmethod
    def of(cls, score: float, upper_bound: float, labels: int) -> Self:
        """Return what the solver reports; it looks for structures above a threshold, which the best may exceed."""
        return cls(score, max(score, upper_bound), labels)

    def __str__(self) -> str:
        best = f"best score {self.score:.4f}" if self.score > float("-inf") else "nothing yet"
        return f"{best}, none above {self.upper_bound:.4f}; {self.labels:,} labels"


def search_exactly(
    request: Request, *, count: int = 1, effort: int = EFFORT, progress: Progress | None = None
) -> tuple[SearchResult, Solution]:
    """Return the best structure of `request`, with its certificate as evidence, and the whole solution.

    `count` lists that many shapes, each at its best widths. Raises RequestError where nothing fits.
    """
    solution = solve(Problem.of(request.space, request.budgets), count=count, effort=effort, progress=progress)
    best, *others = solution.found
    evidence: dict[str, Any] = {"certificate": solution.certificate.document()}
    if count > 1:
        evidence["alternatives"] = [
            {"score": found.score, "structure": to_document(found.structure)} for found in others
        ]
    result = SearchResult(
        method=EXACT,
        settings=method_settings(count),
        structure=best.structure,
        evaluations=solution.certificate.labels,
        evidence=evidence,
    )
    return result, solution


def front_budget(text: str) -> Budget:
    """Return the budget that a front is asked for; raises UserError naming those there are."""
    try:
        return budget_named(text)
    except UserError as error:
        raise UserError(f"--pareto {text}: expected one of {', '.join(map(str, all_budgets()))}") from error


def method_settings(count: int) -> dict[str, Any]:
    """Return what decides an exact search beside its request, as JSON-ready data."""
    return {"top": count}
