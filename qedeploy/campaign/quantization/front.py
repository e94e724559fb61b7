"""The assignments worth measuring: the best within the budgets by the figures, and its neighbours on the front."""

from __future__ import annotations

from qedeploy.campaign.quantization.request import QuantizationOptions, allowed_error
from qedeploy.errors import RequestError
from qedeploy.search.assign.problem import AssignmentProblem, Limits
from qedeploy.search.assign.solver import Assignment, Objective, assign

_ERROR_SHARES = (1.0, 0.6, 0.35, 0.2)
_TIME_SHARES = (1.0, 0.96, 0.92)
"""The same problem with these shares of what is allowed: the figures are estimates, and a measurement decides."""


def front(problem: AssignmentProblem, options: QuantizationOptions) -> list[Assignment]:
    """Return different assignments with layers in integers, the least strict first; none where float32 is best.

    Raises RequestError where nothing is within the budgets.
    """
    budgets = options.budgets
    error = allowed_error(options)
    if error is None and not budgets.limits_time:
        # A metric decides: what all layers in integers would err is where to begin.
        error = sum(max(choice.error for choice in layer.choices) for layer in problem.layers)
    found: list[Assignment] = []
    if budgets.limits_time:
        seconds = budgets.seconds if budgets.seconds is not None else (budgets.share or 1.0) * problem.float_seconds
        for share in _TIME_SHARES:
            limits = Limits(seconds=seconds * share, error=error, size=budgets.size, executed=budgets.executed)
            try:
                found.append(assign(problem, limits, Objective.ERROR))
            except RequestError:
                if not found:
                    raise
                break
    else:
        found = [
            assign(
                problem,
                Limits(error=None if error is None else error * share, size=budgets.size, executed=budgets.executed),
            )
            for share in _ERROR_SHARES
        ]
    unique = {item.quantized: item for item in reversed(found) if item.quantized}
    return list(unique.values())[::-1]
