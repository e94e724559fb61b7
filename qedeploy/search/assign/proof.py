"""Whether an assignment is the best of its problem, shown a second way: by label setting, not by the program."""

from __future__ import annotations

import math
from dataclasses import dataclass

from qedeploy.errors import RequestError
from qedeploy.search.assign.front import enumerate_front
from qedeploy.search.assign.one_limit import least_within
from qedeploy.search.assign.problem import AssignmentProblem
from qedeploy.search.assign.solver import Assignment, Objective

_ROUNDING = 1e-6
"""Share by which sums of times and errors may differ between the two ways."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What label setting found: `best` of what was minimised, None where it was not tried, and in words what that says.

    Where layers share costs it knows times and errors, where they do not any one limit; what has more limits is left to
    the linear program.
    """

    best: float | None
    agrees: bool | None
    words: str


def prove(problem: AssignmentProblem, assignment: Assignment) -> Proof:
    """Return whether label setting finds the same least time, or error, as `assignment` has."""
    try:
        best = _least(problem, assignment)
    except RequestError:
        return Proof(best=None, agrees=None, words="not proved a second way: too many partial assignments")
    if best is None:
        return Proof(best=None, agrees=None, words="not proved a second way: several figures are limited")
    own = float(getattr(assignment.costs, assignment.objective.value))
    agrees = math.isclose(best, own, rel_tol=_ROUNDING, abs_tol=1e-12)
    words = "label setting finds the same" if agrees else f"label setting finds {best:g}, the linear program {own:g}"
    return Proof(best=best, agrees=agrees, words=words)


def _least(problem: AssignmentProblem, assignment: Assignment) -> float | None:
    """Return the least of what was minimised, None for limits that label setting does not know."""
    limits, objective = assignment.limits, assignment.objective
    given = limits.given
    if not problem.savings and len(given) == 1:
        ((figure, limit),) = given.items()
        constants = {"seconds": problem.float_seconds}
        own = constants.get(objective.value, 0.0)
        known = float(getattr(assignment.costs, objective.value)) - own
        return own + least_within(problem, objective.value, figure, limit - constants.get(figure, 0.0), known)
    if given.keys() <= {"seconds", "error"} and objective in {Objective.SECONDS, Objective.ERROR}:
        front = enumerate_front(problem, limits)
        if objective is Objective.SECONDS:
            return front.least_seconds(given.get("error", math.inf))
        return front.least_error(given.get("seconds", math.inf))
    return None
