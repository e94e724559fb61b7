"""Whether an assignment is the best of its problem, shown a second way: by label setting, not by the program."""

from __future__ import annotations

import math
from dataclasses import dataclass

from qedeploy.errors import RequestError
from qedeploy.search.assign.front import enumerate_front
from qedeploy.search.assign.problem import AssignmentProblem
from qedeploy.search.assign.solver import Assignment, Objective

_ROUNDING = 1e-6
"""Share by which sums of times and errors may differ between the two ways."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What label setting found: `best` of what was minimised, None where it was not tried, and in words what that says.

    It knows times and errors: a problem with limits of size or BitOps is left to the linear program.
    """

    best: float | None
    agrees: bool | None
    words: str


def prove(problem: AssignmentProblem, assignment: Assignment) -> Proof:
    """Return whether label setting finds the same least time, or error, as `assignment` has."""
    limits = assignment.limits
    if limits.size is not None or limits.bitops is not None:
        return Proof(best=None, agrees=None, words="not proved a second way: sizes are limited")
    try:
        front = enumerate_front(problem, limits)
    except RequestError:
        return Proof(best=None, agrees=None, words="not proved a second way: too many partial assignments")
    if assignment.objective is Objective.SECONDS:
        best = front.least_seconds(math.inf if limits.error is None else limits.error)
        own = assignment.costs.seconds
    else:
        best = front.least_error(math.inf if limits.seconds is None else limits.seconds)
        own = assignment.costs.error
    agrees = math.isclose(best, own, rel_tol=_ROUNDING, abs_tol=1e-12)
    words = "label setting finds the same" if agrees else f"label setting finds {best:g}, the linear program {own:g}"
    return Proof(best=best, agrees=agrees, words=words)
