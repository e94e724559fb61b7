"""What a search is asked: a profile, a recipe, and the limits that follow from both and from the user."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qedeploy import __version__
from qedeploy.errors import RequestError, UserError
from qedeploy.files import sha256
from qedeploy.latency.predictor import LatencyModel
from qedeploy.latency.store import load_model
from qedeploy.latency.table import LatencyTable, to_text
from qedeploy.profiles.loader import load_profile, profile_path
from qedeploy.profiles.profile import Profile
from qedeploy.search.costs.budget import Budget
from qedeploy.search.costs.budgets.latency import LATENCY
from qedeploy.search.costs.layer_times import require_times
from qedeploy.search.costs.registry import Budgets
from qedeploy.search.space.budgets import as_planned, parse_budget, resolve_budgets
from qedeploy.search.space.recipe import Recipe
from qedeploy.search.space.recipe_file import recipe_to_document
from qedeploy.search.space.recipe_loader import load_recipe
from qedeploy.search.space.space import SearchSpace
from qedeploy.search.space.space_builder import build_space

TABLE_FILE = "latency-table.json"
"""The table that a search predicts latency from, as it is kept beside the result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A search space with its limits, and where both come from.

    `profile_argument` is what the user named, a name or a path by which the profile is found again. `budget_sources`
    says for each limit who set it: `user`, `recipe`, or `profile` (the device's memory). `named_recipe` is the recipe
    as its file has it: its limits are meant for its own size of pictures, whatever the space takes.
    """

    profile: Profile
    profile_argument: str
    profile_sha256: str
    recipe: Recipe
    named_recipe: Recipe
    space: SearchSpace
    budgets: Budgets
    budget_sources: Mapping[Budget, str]

    def document(self) -> dict[str, Any]:
        """Return the request as JSON-ready data: equal data means an equal search."""
        document: dict[str, Any] = {
            "qedeploy": __version__,
            "profile": {"name": self.profile.name, "sha256": self.profile_sha256},
            "recipe": {"name": self.recipe.name, **recipe_to_document(self.recipe)},
            "budgets": {
                str(kind): {"limit": limit, "source": self.budget_sources[kind]} for kind, limit in self.budgets.items()
            },
        }
        if self.space.latency is not None:
            document["latency_table"] = _table_document(self.space.latency.table)
        return document


def parse_overrides(texts: Iterable[str]) -> dict[Budget, float]:
    """Return the limits of texts such as `bitops=7.0G`; raises UserError for one that cannot be read, or a repeat."""
    return _each_once(parse_budget(text) for text in texts)


def _each_once(limits: Iterable[tuple[Budget, float]]) -> dict[Budget, float]:
    overrides: dict[Budget, float] = {}
    for kind, limit in limits:
        if kind in overrides:
            raise UserError(f"budget {kind}: expected one limit, found two; leave one out")
        overrides[kind] = limit
    return overrides


def limits_of(budgets: Mapping[str, float | str] | Iterable[str]) -> dict[Budget, float]:
    """Return the limits of texts such as `bitops=7.0G`, or of a mapping from names to `7.0G` or to numbers.

    Numbers count operations, bytes, layers or seconds. Raises UserError for a name or a text that cannot be read.
    """
    if not isinstance(budgets, Mapping):
        return parse_overrides(budgets)
    return _each_once(
        parse_budget(f"{name}={_text_of(name, limit)}", counted=not isinstance(limit, str))
        for name, limit in budgets.items()
    )


def _text_of(name: str, limit: float | str) -> str:
    if isinstance(limit, str):
        return limit
    # A bare number is no time for a person; here it counts seconds.
    return f"{float(limit)!r}{'s' if name == LATENCY.name else ''}"


def make_request(
    profile_name: str,
    recipe_name: str | None = None,
    overrides: Budgets | None = None,
    resolution: int | None = None,
    latency_table: Path | None = None,
    *,
    classes: int | None = None,
    need_latency: bool = False,
) -> Request:
    """Return the request for a profile and a recipe, each a name or a path; without a recipe the profile's own.

    `overrides` replace the recipe's limits, `resolution` its input size in pixels, `classes` the classes it tells
    apart. Latency is predicted from the file `latency_table`, or where it is limited or `need_latency` from the table
    kept for the profile. Raises UserError for names and files that cannot be read, RequestError where the profile
    cannot run the recipe or hold a limit, and where latency has no table to be predicted from.
    """
    overrides = overrides or {}
    profile = load_profile(profile_name)
    recipe = named_recipe = load_recipe(recipe_name or profile.recipe)
    if resolution is not None:
        recipe = dataclasses.replace(recipe, resolution=resolution)
    if classes is not None:
        recipe = dataclasses.replace(recipe, classes=classes)
    budgets = resolve_budgets(recipe, profile, overrides)
    latency = None
    if latency_table is not None or need_latency or LATENCY in budgets:
        latency = _latency_model(profile, latency_table)
    space = build_space(recipe, profile, latency)
    if latency is not None:
        require_times(space)
    for budget in budgets:
        if not budget.known(space):
            raise RequestError(f"budget {budget}: not known of networks on {profile.name}: leave it out")
    return Request(
        profile=profile,
        profile_argument=profile_name,
        profile_sha256=sha256(profile_path(profile_name)),
        recipe=recipe,
        named_recipe=named_recipe,
        space=space,
        budgets=budgets,
        budget_sources={
            kind: _source(kind, limit, as_planned(recipe.budgets, profile), as_planned(overrides, profile))
            for kind, limit in budgets.items()
        },
    )


def _latency_model(profile: Profile, file: Path | None) -> LatencyModel:
    found = load_model(profile, file)
    if found is None:
        mend = "--latency-table FILE names one"
        if not profile.search_only:
            mend = f"`qedeploy measure --profile {profile.name}` makes one, {mend}"
        raise RequestError(f"latency: {profile.name} has no latency table to predict it from: {mend}")
    return found[0]


def _table_document(table: LatencyTable) -> dict[str, Any]:
    digest = hashlib.sha256(to_text(table).encode()).hexdigest()
    record = {"file": TABLE_FILE, "sha256": digest, "device": table.device, "date": table.date}
    doubt = table.doubt or table.competition
    return {**record, "doubt": doubt} if doubt else record


def _source(kind: Budget, limit: float, recipes: Budgets, overrides: Budgets) -> str:
    if limit == overrides.get(kind):
        return "user"
    return "recipe" if kind not in overrides and limit == recipes.get(kind) else "profile"
