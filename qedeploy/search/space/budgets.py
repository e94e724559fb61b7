"""Budgets from three places: what a recipe asks, what a user asks instead, and what the device can hold."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping

from qedeploy.errors import RequestError, UserError
from qedeploy.network.costs import layer_size_bytes
from qedeploy.network.layers import Layer, LayerKind
from qedeploy.profiles.profile import Profile
from qedeploy.search.space.recipe import Recipe
from qedeploy.search.space.space import BudgetKind
from qedeploy.units import Quantity, QuantityError, format_bytes, format_count, format_duration, parse_quantity

_IN_BYTES = (BudgetKind.SIZE, BudgetKind.PEAK_MEMORY)
_OPERATIONS = (BudgetKind.BITOPS, BudgetKind.EXECUTED_BITOPS, BudgetKind.FLOPS)


def budget_quantity(kind: BudgetKind) -> Quantity:
    """Return what a limit of `kind` counts, which decides the units it may carry."""
    if kind is BudgetKind.LATENCY:
        return Quantity.DURATION
    return Quantity.BYTES if kind in _IN_BYTES else Quantity.COUNT


def parse_budget(text: str) -> tuple[BudgetKind, float]:
    """Return kind and limit of `KIND=LIMIT`, such as `bitops=7.0G`, `peak-memory=320KiB` or `latency=4ms`.

    Raises UserError for an unknown kind, a limit that is not positive, or a unit of another quantity.
    """
    key, equals, limit = text.partition("=")
    key = key.strip()
    if not equals or key not in set(BudgetKind):
        close = difflib.get_close_matches(key, list(BudgetKind), n=1)
        hint = f" (did you mean {close[0]}?)" if close and close[0] != key else ""
        raise UserError(
            f"budget {text!r}{hint}: expected KIND=LIMIT such as bitops=7.0G, with KIND one of {', '.join(BudgetKind)}"
        )
    kind = BudgetKind(key)
    try:
        return kind, parse_quantity(limit, budget_quantity(kind))
    except QuantityError as error:
        bare = kind is BudgetKind.LATENCY and re.fullmatch(r"(?=.*[1-9])[\d.]*\d", limit.strip(), re.ASCII)
        hint = f"; did you mean latency={limit.strip()}ms?" if bare else ""
        raise UserError(f"budget {key}: {error}{hint}") from error


def format_budget(kind: BudgetKind, limit: float) -> str:
    """Return a limit with its unit, as a person reads it."""
    if kind is BudgetKind.LATENCY:
        return format_duration(limit)
    return format_bytes(limit) if kind in _IN_BYTES else format_count(limit)


def device_limits(recipe: Recipe, profile: Profile) -> dict[BudgetKind, float]:
    """Return what the device's memory allows a structure of `recipe`, in the measures that budgets use.

    `size` does not count the classifier (the reference's accounting), the device's memory does: its bytes come off.
    Raises RequestError where the classifier alone fills the memory for weights.
    """
    limits: dict[BudgetKind, float] = {}
    memory = profile.memory
    if memory.weight_bytes is not None:
        classifier = classifier_bytes(recipe)
        if classifier >= memory.weight_bytes:
            raise RequestError(
                f"recipe {recipe.name}: its classifier ({recipe.head_channels}x{recipe.classes} at "
                f"{recipe.classifier_bits}) takes {format_bytes(classifier)} of the "
                f"{format_bytes(memory.weight_bytes)} that {profile.name} has for weights: take a recipe with fewer "
                f"head channels or classes, such as {profile.recipe}"
            )
        limits[BudgetKind.SIZE] = memory.weight_bytes - classifier
    if memory.activation_bytes is not None:
        limits[BudgetKind.PEAK_MEMORY] = float(memory.activation_bytes)
    return limits


def resolve_budgets(
    recipe: Recipe, profile: Profile, overrides: Mapping[BudgetKind, float] | None = None
) -> dict[BudgetKind, float]:
    """Return the limits a search keeps to, in the order of BudgetKind.

    An override replaces the recipe's limit of its kind, and one of latency the recipe's limits of operations too: those
    stand in for a time that is not known. The device's memory tightens what the recipe says without a
    word; an override that the device cannot hold is refused with RequestError, since a network that meets it might
    not run there.
    """
    overrides = overrides or {}
    limits = device_limits(recipe, profile)
    for kind, limit in limits.items():
        if overrides.get(kind, 0.0) > limit:
            raise RequestError(
                f"budget {kind}={format_budget(kind, overrides[kind])}: {profile.name} holds {format_bytes(limit)}"
                f"{' beside the classifier' if kind is BudgetKind.SIZE else ''}; lower it, or leave it out"
            )
    kept = {
        kind: limit
        for kind, limit in recipe.budgets.items()
        if BudgetKind.LATENCY not in overrides or kind not in _OPERATIONS
    }
    asked = {**kept, **overrides}
    found = {kind: min(asked.get(kind, limit), limit) for kind, limit in limits.items()}
    return {kind: {**asked, **found}[kind] for kind in BudgetKind if kind in asked or kind in found}


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
