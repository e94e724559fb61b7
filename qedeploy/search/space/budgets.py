"""Budgets from three places: what a recipe asks, what a user asks instead, and what the device can hold."""

from __future__ import annotations

import difflib
import re

from qedeploy.errors import RequestError, UserError
from qedeploy.network.costs import layer_size_bytes
from qedeploy.network.layers import Layer, LayerKind
from qedeploy.profiles.capabilities import memory_plan_of
from qedeploy.profiles.profile import Profile
from qedeploy.search.costs.budget import Budget
from qedeploy.search.costs.budgets.counted import BITOPS, EXECUTED_BITOPS, FLOPS, SIZE
from qedeploy.search.costs.budgets.latency import LATENCY
from qedeploy.search.costs.budgets.peak_memory import PEAK_MEMORY
from qedeploy.search.costs.budgets.planned import FLASH, SRAM
from qedeploy.search.costs.registry import Budgets, all_budgets, budget_named
from qedeploy.search.space.recipe import Recipe
from qedeploy.units import Quantity, QuantityError, format_bytes, parse_quantity

_OPERATIONS = (BITOPS, EXECUTED_BITOPS, FLOPS)


_PLANNED: dict[Budget, Budget] = {SIZE: FLASH, PEAK_MEMORY: SRAM}
"""What limits of memory are about on a device whose runtime plans it ahead."""

_UNIT_HINTS = {
    **{budget.name: ("G", 1e5) for budget in _OPERATIONS},
    SIZE.name: ("MB", 1e3),
    PEAK_MEMORY.name: ("KiB", 1e3),
    FLASH.name: ("KiB", 1e3),
    SRAM.name: ("KiB", 1e3),
}
"""The unit that a bare number below the limit beside it is likely to lack."""


def parse_budget(text: str, *, counted: bool = False) -> tuple[Budget, float]:
    """Return budget and limit of `KIND=LIMIT`, such as `bitops=7.0G`, `peak-memory=320KiB` or `latency=4ms`.

    A `counted` number is in what the budget counts, however small; else one too small to be meant asks for its unit.
    Raises UserError for an unknown kind, a limit that is not positive, or a unit of another quantity.
    """
    key, equals, limit = text.partition("=")
    key = key.strip()
    try:
        budget = budget_named(key) if equals else None
    except UserError:
        budget = None
    if budget is None:
        names = [known.name for known in all_budgets()]
        close = difflib.get_close_matches(key, names, n=1)
        hint = f" (did you mean {close[0]}?)" if close and close[0] != key else ""
        raise UserError(
            f"budget {text!r}{hint}: expected KIND=LIMIT such as bitops=7.0G, with KIND one of {', '.join(names)}"
        )
    if not counted:
        _require_unit(budget, limit.strip())
    try:
        return budget, parse_quantity(limit, budget.quantity)
    except QuantityError as error:
        bare = budget.quantity is Quantity.DURATION and re.fullmatch(r"(?=.*[1-9])[\d.]*\d", limit.strip(), re.ASCII)
        hint = f"; did you mean {key}={limit.strip()}ms?" if bare else ""
        raise UserError(f"budget {key}: {error}{hint}") from error


def _require_unit(budget: Budget, limit: str) -> None:
    """Raise UserError for a bare number that only a unit makes sense of: nobody limits a network to 7 operations."""
    if budget.name not in _UNIT_HINTS or not re.fullmatch(r"(?=.*[1-9])\d*\.?\d*", limit, re.ASCII):
        return
    unit, plausible = _UNIT_HINTS[budget.name]
    if float(limit) < plausible:
        raise UserError(
            f"budget {budget.name}: expected a limit with its unit, found {limit!r}; did you mean "
            f"{budget.name}={limit}{unit}?"
        )


def device_limits(recipe: Recipe, profile: Profile) -> dict[Budget, float]:
    """Return what the device's memory can hold of a structure of `recipe`, in the measures that budgets use.

    Nothing is reserved in it. Where the runtime plans memory ahead, its plan is what is measured. Elsewhere `size` does
    not count the classifier (the reference's accounting), the device's memory does: its bytes come off. Raises
    RequestError where the classifier alone fills the memory for weights.
    """
    limits: dict[Budget, float] = {}
    memory = profile.memory
    if memory_plan_of(profile.runtime) is not None:
        planned = {FLASH: memory.weight_bytes, SRAM: memory.activation_bytes}
        return {budget: float(limit) for budget, limit in planned.items() if limit is not None}
    if memory.weight_bytes is not None:
        classifier = classifier_bytes(recipe)
        if classifier >= memory.weight_bytes:
            raise RequestError(
                f"recipe {recipe.name}: its classifier ({recipe.head_channels}x{recipe.classes} at "
                f"{recipe.classifier_bits}) takes {format_bytes(classifier)} of the "
                f"{format_bytes(memory.weight_bytes)} that {profile.name} has for weights: take a recipe with fewer "
                f"head channels or classes, such as {profile.recipe}"
            )
        limits[SIZE] = memory.weight_bytes - classifier
    if memory.activation_bytes is not None:
        limits[PEAK_MEMORY] = float(memory.activation_bytes)
    return limits


def as_planned(budgets: Budgets, profile: Profile) -> dict[Budget, float]:
    """Return limits on what a device really measures: `size` and `peak-memory` become the runtime's own plan of both.

    Raises UserError where the two names of one limit are both there.
    """
    if memory_plan_of(profile.runtime) is None:
        return dict(budgets)
    found: dict[Budget, float] = {}
    for budget, limit in budgets.items():
        planned = _PLANNED.get(budget, budget)
        if planned in found:
            names = " and ".join(str(other) for other in budgets if _PLANNED.get(other, other) == planned)
            raise UserError(f"budget {names}: on {profile.name} they are the same; leave one out")
        found[planned] = limit
    return found


def resolve_budgets(recipe: Recipe, profile: Profile, overrides: Budgets | None = None) -> dict[Budget, float]:
    """Return the limits a search keeps to, in the order of `all_budgets`.

    An override replaces the recipe's limit of its kind, and one of latency the recipe's limits of operations too: those
    stand in for a time that is not known. The device's memory, less what the profile reserves, tightens what the recipe
    says without a word. An override may use what is reserved; one that the device cannot hold is refused with
    RequestError, since a network that meets it might not run there. Where the runtime plans memory ahead, `size` and
    `peak-memory` limit what it plans.
    """
    overrides, memory = as_planned(overrides or {}, profile), profile.memory
    limits = device_limits(recipe, profile)
    reserved: dict[Budget, float] = {
        SIZE: memory.reserved_flash,
        FLASH: memory.reserved_flash,
        PEAK_MEMORY: memory.reserved_sram,
        SRAM: memory.reserved_sram,
    }
    for kind, limit in limits.items():
        if overrides.get(kind, 0.0) > limit:
            raise RequestError(
                f"budget {kind}={kind.text(overrides[kind])}: {profile.name} holds {format_bytes(limit)}"
                f"{' beside the classifier' if kind == SIZE else ''}; lower it, or leave it out"
            )
    kept = {
        kind: limit
        for kind, limit in as_planned(recipe.budgets, profile).items()
        if LATENCY not in overrides or kind not in _OPERATIONS
    }
    asked = {**kept, **overrides}
    # Who names a limit has thought of what else needs memory; everybody else is left the profile's reserve.
    free = {kind: limit if kind in overrides else limit - reserved[kind] for kind, limit in limits.items()}
    if SIZE in free and free[SIZE] <= 0:
        raise RequestError(
            f"recipe {recipe.name}: beside its classifier {profile.name} has no flash left but the "
            f"{format_bytes(reserved[SIZE])} that it reserves: take a recipe with fewer head channels or classes, or "
            "name a limit with --budget size="
        )
    found = {kind: min(asked.get(kind, limit), limit) for kind, limit in free.items()}
    return in_order({**asked, **found})


def classifier_bytes(recipe: Recipe) -> float:
    """Return the bytes of the recipe's classifier, counted like any other layer's."""
    return layer_size_bytes(
        Layer(
            name="classifier",
            kind=LayerKind.LINEAR,
            input=(recipe.head_channels,),
            out_channels=recipe.classes,
            bits=recipe.classifier_bits,
        )
    )


def in_order(budgets: Budgets) -> dict[Budget, float]:
    """Return `budgets` in the order of `all_budgets`, and then what is in no list."""
    return {budget: budgets[budget] for budget in dict.fromkeys([*all_budgets(), *budgets]) if budget in budgets}
