"""What a search is asked: a profile, a recipe, and the limits that follow from both and from the user."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from qedeploy import __version__
from qedeploy.errors import UserError
from qedeploy.files import sha256
from qedeploy.profiles.loader import load_profile, profile_path
from qedeploy.profiles.profile import Profile
from qedeploy.search.budgets import parse_budget, resolve_budgets
from qedeploy.search.recipe import Recipe
from qedeploy.search.recipe_file import recipe_to_document
from qedeploy.search.recipe_loader import load_recipe
from qedeploy.search.space import BudgetKind, SearchSpace
from qedeploy.search.space_builder import build_space


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A search space with its limits, and where both come from.

    `profile_argument` is what the user named, a name or a path by which the profile is found again. `budget_sources`
    says for each limit who set it: `user`, `recipe`, or `profile` (the device's memory).
    """

    profile: Profile
    profile_argument: str
    profile_sha256: str
    recipe: Recipe
    space: SearchSpace
    budgets: Mapping[BudgetKind, float]
    budget_sources: Mapping[BudgetKind, str]

    def document(self) -> dict[str, Any]:
        """Return the request as JSON-ready data: equal data means an equal search."""
        return {
            "qedeploy": __version__,
            "profile": {"name": self.profile.name, "sha256": self.profile_sha256},
            "recipe": {"name": self.recipe.name, **recipe_to_document(self.recipe)},
            "budgets": {
                str(kind): {"limit": limit, "source": self.budget_sources[kind]} for kind, limit in self.budgets.items()
            },
        }


def parse_overrides(texts: Iterable[str]) -> dict[BudgetKind, float]:
    """Return the limits of texts such as `bitops=7.0G`; raises UserError for one that cannot be read, or a repeat."""
    overrides: dict[BudgetKind, float] = {}
    for text in texts:
        kind, limit = parse_budget(text)
        if kind in overrides:
            raise UserError(f"budget {kind}: expected one limit, found two; leave one out")
        overrides[kind] = limit
    return overrides


def make_request(
    profile_name: str,
    recipe_name: str | None = None,
    overrides: Mapping[BudgetKind, float] | None = None,
    resolution: int | None = None,
) -> Request:
    """Return the request for a profile and a recipe, each a name or a path; without a recipe the profile's own.

    `overrides` replace the recipe's limits, `resolution` its input size in pixels. Raises UserError for names and files
    that cannot be read, RequestError where the profile cannot run the recipe or hold a limit.
    """
    overrides = overrides or {}
    profile = load_profile(profile_name)
    recipe = load_recipe(recipe_name or profile.recipe)
    if resolution is not None:
        recipe = dataclasses.replace(recipe, resolution=resolution)
    budgets = resolve_budgets(recipe, profile, overrides)
    return Request(
        profile=profile,
        profile_argument=profile_name,
        profile_sha256=sha256(profile_path(profile_name)),
        recipe=recipe,
        space=build_space(recipe, profile),
        budgets=budgets,
        budget_sources={kind: _source(kind, limit, recipe, overrides) for kind, limit in budgets.items()},
    )


def _source(kind: BudgetKind, limit: float, recipe: Recipe, overrides: Mapping[BudgetKind, float]) -> str:
    if limit == overrides.get(kind):
        return "user"
    return "recipe" if kind not in overrides and limit == recipe.budgets.get(kind) else "profile"
