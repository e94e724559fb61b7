"""The assignments worth measuring: the best within the budgets by the figures, and its neighbours on the front."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qedeploy.campaign.quantization.measurement import LayerMeasurement, SetMeasurement
from qedeploy.campaign.quantization.request import DEFAULT_ERROR, QuantizationOptions
from qedeploy.errors import RequestError
from qedeploy.search.assign.problem import Limits, Problem
from qedeploy.search.assign.solver import Assignment, Objective, assign

_ERROR_SHARES = (2.0, 1.0, 0.5, 0.2)
_TIME_SHARES = (1.0, 0.96, 0.92)
"""The same problem with these shares of what is allowed: the figures are estimates, and a measurement decides."""


def overestimate(layers: Sequence[LayerMeasurement], sets: Sequence[SetMeasurement]) -> float:
    """Return the sum of layers' own errors over their measured error together, the median over `sets`."""
    alone = {(item.layer, item.precision): item.error for item in layers}
    ratios = [sum(alone[key] for key in item.precisions.items()) / item.error for item in sets if item.error > 0]
    return float(np.median(ratios)) if ratios else 1.0


def front(problem: Problem, options: QuantizationOptions, overestimated: float) -> list[Assignment]:
    """Return different assignments with layers in integers, the least strict first; none where float32 is best.

    `overestimated` corrects the sum of errors. Raises RequestError where nothing is within the budgets.
    """
    budgets = options.budgets
    error = budgets.error if budgets.error is not None or budgets.limits_time else DEFAULT_ERROR
    allowed = None if error is None else error * overestimated
    found: list[Assignment] = []
    if budgets.limits_time:
        seconds = budgets.seconds if budgets.seconds is not None else (budgets.share or 1.0) * problem.float_seconds
        for share in _TIME_SHARES:
            limits = Limits(seconds=seconds * share, error=allowed, size=budgets.size)
            try:
                found.append(assign(problem, limits, Objective.ERROR))
            except RequestError:
                if not found:
                    raise
                break
    else:
        found = [
            assign(problem, Limits(error=None if allowed is None else allowed * share, size=budgets.size))
            for share in _ERROR_SHARES
        ]
    unique = {item.quantized: item for item in reversed(found) if item.quantized}
    return list(unique.values())[::-1]
