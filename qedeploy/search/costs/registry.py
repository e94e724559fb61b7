"""The budgets that a command can name: those of `budgets/`, a user's own, and those of installed packages."""

from __future__ import annotations

from collections.abc import Mapping

from qedeploy.network.structure import Structure
from qedeploy.search.costs.budget import Budget
from qedeploy.search.plugins import Registry
from qedeploy.search.space.space import SearchSpace

Budgets = Mapping[Budget, float]
"""Upper limits, inclusive, in base units: operations, bytes, layers, seconds."""

_BUDGETS: Registry[Budget] = Registry(
    what="budget",
    package="qedeploy.search.costs.budgets",
    group="qedeploy.budgets",
    kind=lambda found: isinstance(found, Budget),
)


def all_budgets() -> tuple[Budget, ...]:
    """Return every budget, in the order in which they are listed."""
    return tuple(sorted(_BUDGETS, key=lambda budget: (budget.order, budget.name)))


def budget_named(name: str) -> Budget:
    """Return the budget of a name; raises UserError naming those there are."""
    return _BUDGETS.get(name)


def add_budget(budget: Budget) -> None:
    """Let `budget` be limited and reported in this process, and whatever it reads and writes."""
    _BUDGETS.add(budget)


def known_budgets(space: SearchSpace) -> tuple[Budget, ...]:
    """Return every budget whose cost is known for the structures of `space`, in the order in which they are listed."""
    return tuple(budget for budget in all_budgets() if budget.known(space))


def budget_costs(structure: Structure, space: SearchSpace) -> dict[Budget, float]:
    """Return every cost of `structure` that is known and that a budget can limit."""
    return {budget: budget.cost(structure, space) for budget in known_budgets(space)}


def keeps(structure: Structure, space: SearchSpace, budgets: Budgets) -> bool:
    """Say whether `structure` keeps every limit, judged layer by layer."""
    return all(budget.cost(structure, space) <= limit for budget, limit in budgets.items())
