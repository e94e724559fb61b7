"""Budgets that no structure of a space can meet, refused with the least that one could."""

from __future__ import annotations

from qedeploy.errors import RequestError
from qedeploy.search.costs.registry import Budgets
from qedeploy.search.space.space import SearchSpace


def require_feasible(space: SearchSpace, budgets: Budgets) -> None:
    """Raise RequestError naming each limit that no structure of `space` meets, with the least that one could."""
    found = {budget: budget.least(space) for budget in budgets}
    broken = [
        f"{budget}={budget.text(budgets[budget])} cannot be met: the smallest structure of the space "
        f"has {budget.least_text(least)}"
        for budget, least in found.items()
        if least > budgets[budget]
    ]
    if broken:
        raise RequestError(f"{'; '.join(broken)}; raise the limit, or take a recipe with smaller choices")
