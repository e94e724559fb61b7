"""Why nothing fits: the least that a budget can be, or prices at which even the cheapest structure is too dear."""

from __future__ import annotations

from collections.abc import Sized

import numpy as np

from qedeploy.errors import RequestError
from qedeploy.search.costs.feasibility import require_feasible
from qedeploy.search.exact.completion import ChannelGrid, complete
from qedeploy.search.exact.costs import Limit
from qedeploy.search.exact.problem import Prices, Problem
from qedeploy.search.space.layers import Array
from qedeploy.units import Quantity, format_duration

MARGIN = 1e-9
"""A limit counts as broken when it is by more than this share: less is rounding."""


def lowest_score(problem: Problem, grid: ChannelGrid) -> float:
    """Return a score that no structure of the space is below."""
    return -complete(problem, grid, Prices(multipliers=np.zeros(problem.limits.size), score=-1.0)).whole


def refuse_if_infeasible(problem: Problem, grid: ChannelGrid, multipliers: Array) -> None:
    """Raise RequestError with the proof where a budget, or all together, cannot be met; `multipliers` point the way."""
    require_feasible(problem.space, problem.budgets)
    for number, cost in enumerate(problem.costs):
        least = _least(problem, grid, np.eye(problem.limits.size)[number]) + cost.constant
        if least > cost.limit * (1 + MARGIN):
            raise RequestError(
                f"budget {cost.name}={_shown(cost)} cannot be met: the least in this space is {least:.12g}; raise it"
            )
    shares = multipliers / max(float(multipliers @ problem.limits), np.finfo(float).tiny)
    least = _least(problem, grid, shares)
    if least > (1 + MARGIN) * float(shares @ problem.limits):
        mixture = " + ".join(
            f"{share * limit:.4g} x {cost.name}"
            for cost, share, limit in zip(problem.costs, shares, problem.limits, strict=True)
            if share > 0
        )
        raise RequestError(
            f"the budgets cannot be met together, though each could alone: weighed {mixture}, as shares of each "
            f"budget, every structure of the space uses at least {least:.6g} of 1; loosen one of them"
        )


def refuse_exhausted(problem: Problem, found: Sized, labels: int) -> None:
    """Raise RequestError where every structure was excluded and none found."""
    if not len(found):
        names = ", ".join(f"{cost.name}={_shown(cost)}" for cost in problem.costs)
        raise RequestError(
            f"the budgets {names} cannot be met together: every one of the space's structures is excluded "
            f"(labels exhausted after {labels}); loosen one of them"
        )


def _shown(cost: Limit) -> str:
    return format_duration(cost.limit) if cost.budget.quantity is Quantity.DURATION else f"{cost.limit:.12g}"


def _least(problem: Problem, grid: ChannelGrid, prices: Array) -> float:
    return -complete(problem, grid, Prices(multipliers=prices, score=0.0)).whole
