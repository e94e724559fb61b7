"""Checks of a finished search: does its search.json say the truth?"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qedeploy.errors import RequestError, UserError
from qedeploy.files import sha256
from qedeploy.latency.predictor import LatencyModel
from qedeploy.latency.table import read_table
from qedeploy.network.costs import convolutions
from qedeploy.network.layers import expand_layers
from qedeploy.network.structure import Structure
from qedeploy.network.structure_file import from_document
from qedeploy.profiles.loader import load_profile, profile_path
from qedeploy.schema import read_json
from qedeploy.search.audit.checks import ROUNDING, Check, compared, equal
from qedeploy.search.audit.decisions import Decisions
from qedeploy.search.audit.enumeration import Enumeration, TooManyError, relax
from qedeploy.search.audit.folder_checks import ReadModel, folder_checks
from qedeploy.search.costs.budget import AdditiveBudget, Budget
from qedeploy.search.costs.budgets.latency import LATENCY
from qedeploy.search.costs.budgets.planned import SRAM, planned_sram
from qedeploy.search.costs.registry import budget_costs, budget_named
from qedeploy.search.exact.certificate import CLOSED, ProofStatus
from qedeploy.search.exact.problem import Problem
from qedeploy.search.methods import EVOLUTION, EXACT
from qedeploy.search.request import TABLE_FILE
from qedeploy.search.result import FORMAT, SEARCH_FILE, in_document_order
from qedeploy.search.space.membership import outside
from qedeploy.search.space.recipe import Recipe
from qedeploy.search.space.recipe_file import recipe_from_document, recipe_to_document
from qedeploy.search.space.recipe_loader import load_recipe, recipe_names
from qedeploy.search.space.space import SearchSpace
from qedeploy.search.space.space_builder import build_space

_METHODS = (EXACT, EVOLUTION)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What a search.json says, read but not yet believed."""

    document: dict[str, Any]
    structure: Structure
    space: SearchSpace
    budgets: dict[Budget, float]
    used: dict[Budget, object]
    method: str
    evidence: dict[str, Any]
    recipe: Recipe
    profile_file: Path
    latency_file: Path | None


def verify(path: Path, read_model: ReadModel, *, profile: str | None = None) -> list[Check]:
    """Return every check of a search.json, or of a run folder and the files in it.

    `read_model` returns the structure of a model.pth. `profile` is the device's file where search.json names one that
    neither ships with qedeploy nor lies beside it. Raises UserError for what cannot be read.
    """
    search = path / SEARCH_FILE if path.is_dir() else path
    claims = read_claims(search, profile)
    checks = [_profile_is(claims), _recipe_is(claims), *_table_is(claims), _membership(claims)]
    if any(
        (layer.category, layer.bits) not in claims.space.executed
        for layer in convolutions(expand_layers(claims.structure))
    ):
        # Of widths that the space does not have nobody knows what they cost.
        return checks
    checks += [*_figures(claims), *_bound(claims)]
    if not path.is_dir():
        return checks
    alternatives = claims.evidence.get("alternatives", [])
    structures = [claims.structure, *(from_document(item["structure"], search) for item in alternatives)]
    return [*checks, *folder_checks(path, structures, claims.space, claims.budgets, read_model)]


def read_claims(path: Path, profile: str | None) -> Claims:
    """Return what a search.json claims; raises UserError naming the file and what is missing or wrong in it."""
    document = read_json(path)
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise UserError(f"{path}: expected a {FORMAT} document, as `qedeploy search` writes it")
    try:
        recipe_data = dict(document["recipe"])
        name = recipe_data.pop("name")
        device = document["profile"]["name"]
        if not (isinstance(name, str) and isinstance(device, str)):
            raise TypeError("names that are no text")
        budgets = {budget_named(kind): float(entry["limit"]) for kind, entry in document["budgets"].items()}
        used = {budget_named(kind): entry.get("used") for kind, entry in document["budgets"].items()}
        method, evidence = str(document["method"]["name"]), dict(document.get("evidence") or {})
    except (AttributeError, KeyError, TypeError, ValueError, UserError) as error:
        raise UserError(
            f"{path}: recipe, profile, budgets, method or evidence: expected what `qedeploy search` writes: {error!r}"
        ) from error
    if method not in _METHODS:
        raise UserError(f"{path}: method: expected one of {', '.join(_METHODS)}, found {method!r}")
    recipe = recipe_from_document(recipe_data, name=name, source=f"{path}: recipe")
    own = path.with_name(f"{device}.toml")
    device_file = profile_path(profile or (str(own.resolve()) if own.exists() else device))
    found, table = load_profile(str(device_file)), _latency_file(path, document)
    space = build_space(recipe, found, None if table is None else LatencyModel(read_table(table), found))
    if LATENCY in budgets and table is None:
        raise UserError(f"{path}: latency_table: expected the record of the table that latency is predicted from")
    structure = from_document(document.get("structure"), f"{path}: structure")
    return Claims(
        document=document,
        structure=structure,
        space=space,
        budgets=budgets,
        used=used,
        method=method,
        evidence=evidence,
        recipe=recipe,
        profile_file=device_file,
        latency_file=table,
    )


def _latency_file(path: Path, document: dict[str, Any]) -> Path | None:
    """Return the table that a search.json predicts latency from, None where it has nothing to do with latency."""
    record = document.get("latency_table")
    if record is None:
        return None
    file = path.parent / TABLE_FILE
    if not isinstance(record, dict) or record.get("file") != TABLE_FILE or not file.exists():
        raise UserError(
            f"{file}: expected the latency table of the search beside {path.name}, found none; copy it there to verify "
            "what is predicted from it"
        )
    return file


def _profile_is(claims: Claims) -> Check:
    recorded, found = claims.document["profile"].get("sha256"), sha256(claims.profile_file)
    detail = "SHA-256 as recorded" if found == recorded else f"{claims.profile_file.name} has changed since the search"
    return Check(claim="the profile is the one searched for", holds=found == recorded, detail=detail)


def _recipe_is(claims: Claims) -> Check:
    claim, recipe = "the recipe is the one it is named after", claims.recipe
    if recipe.name not in recipe_names():
        return Check(claim=claim, holds=True, detail=f"{recipe.name} is the user's own, as search.json has it")
    # Input size and number of classes may be chosen for a search.
    chosen = dataclasses.replace(load_recipe(recipe.name), resolution=recipe.resolution, classes=recipe.classes)
    shipped = recipe_to_document(chosen)
    stated = recipe_to_document(recipe)
    changed = [key for key in shipped if shipped[key] != stated[key]]
    detail = f"{recipe.name} as it ships, at {recipe.resolution} pixels"
    if recipe.classes != load_recipe(recipe.name).classes:
        detail += f" and with {recipe.classes} classes"
    if changed:
        detail = (
            f"{', '.join(changed)}: not those of the {recipe.name} that ships; an own recipe needs a name of its own"
        )
    return Check(claim=claim, holds=not changed, detail=detail)


def _table_is(claims: Claims) -> list[Check]:
    if claims.latency_file is None:
        return []
    same = sha256(claims.latency_file) == claims.document["latency_table"].get("sha256")
    detail = "SHA-256 as recorded" if same else f"{claims.latency_file.name} has changed since the search"
    return [Check(claim="the latency table is the one searched with", holds=same, detail=detail)]


def _membership(claims: Claims) -> Check:
    fault = outside(claims.structure, claims.space)
    return Check(
        claim="the structure is one of the recipe's on this profile",
        holds=fault is None,
        detail=fault or "every choice is",
    )


def _figures(claims: Claims) -> list[Check]:
    costs = budget_costs(claims.structure, claims.space)
    score = claims.space.score.of(claims.structure)
    figures = {"score": score, **{budget.key: cost for budget, cost in in_document_order(costs).items()}}
    checks = [
        Check(
            claim=name,
            holds=equal(claims.document.get(name), value),
            detail=compared(claims.document.get(name), value),
        )
        for name, value in figures.items()
    ]
    for kind, limit in claims.budgets.items():
        used = claims.used[kind]
        holds = costs[kind] <= limit and equal(used, costs[kind])
        detail = f"{costs[kind]:.12g} of {limit:.12g}" + ("" if equal(used, costs[kind]) else f", the file says {used}")
        checks.append(Check(claim=f"budget {kind} is kept", holds=holds, detail=detail))
    return [*checks, *_sram_plan(claims)]


def _sram_plan(claims: Claims) -> list[Check]:
    plan = planned_sram(claims.structure, claims.space)
    if plan is None:
        return []
    recorded, found = claims.document.get("sram_plan"), plan.document()
    checks = [
        Check(
            claim="the plan of SRAM",
            holds=recorded == found,
            detail=f"{found['total']} bytes" if recorded == found else f"{found}, the file says {recorded}",
        )
    ]
    tightening = claims.evidence.get("sram")
    asked = tightening.get("asked") if isinstance(tightening, dict) else claims.budgets.get(SRAM)
    if isinstance(asked, int | float):
        detail = f"{plan.total} of {asked:.12g}"
        checks.append(Check(claim="the plan of SRAM is within the limit", holds=plan.total <= asked, detail=detail))
    return checks


def _bound(claims: Claims) -> list[Check]:
    if claims.method != EXACT and "certificate" not in claims.evidence:
        return [Check(claim="no bound is claimed", holds=True, detail=f"{claims.method} searches without a proof")]
    certificate = _certificate(claims)
    problem = Problem.of(claims.space, claims.budgets)
    names = [cost.name for cost in problem.costs]
    prices = [np.array([row[name] for name in names]) for row in certificate["prices"]]
    if not prices or any((row < 0).any() or not np.isfinite(row).all() for row in prices):
        return [Check(claim="prices", holds=False, detail="expected at least one row, none negative")]
    main = np.array([certificate["multipliers"][name] for name in names])
    relaxed = relax(Decisions(problem), [main, *(row for row in prices if not np.array_equal(row, main))])
    recorded, upper = certificate["relaxed_bound"], certificate["upper_bound"]
    checks = [_consistency(claims, certificate), _relaxed_check(problem, recorded, relaxed[0].bound)]
    if not all(check.holds for check in checks):
        # A file that contradicts itself already is not worth an enumeration, which may then be long.
        return checks
    return [*checks, _nothing_above(Enumeration(Decisions(problem), relaxed, upper), upper)]


def _relaxed_check(problem: Problem, recorded: float, bound: float) -> Check:
    tolerance = ROUNDING * max(1.0, abs(bound))
    # The second route looks at the memory of single blocks, the solver at neighbours too: its bound may be lower.
    lower_is_fine = problem.peak_memory is not None
    return Check(
        claim="bound at the multipliers alone",
        holds=abs(recorded - bound) <= tolerance or (lower_is_fine and recorded < bound),
        detail=compared(recorded, bound),
    )


def _certificate(claims: Claims) -> dict[str, Any]:
    try:
        found = dict(claims.evidence["certificate"])
        for key in ("score", "upper_bound", "gap", "relaxed_bound"):
            found[key] = float(found[key])
        budgets = {budget.name for budget in claims.budgets if isinstance(budget, AdditiveBudget)}
        for row in (found["multipliers"], *found["prices"]):
            if set(row) != budgets or not all(isinstance(price, int | float) for price in row.values()):
                raise ValueError("a price for each budget is expected")
        found["status"] = ProofStatus(found["status"])
    except (KeyError, TypeError, ValueError) as error:
        raise RequestError(f"search.json: evidence.certificate: incomplete or changed: {error}") from error
    return found


def _consistency(claims: Claims, certificate: dict[str, Any]) -> Check:
    gap = certificate["upper_bound"] - certificate["score"]
    closed = certificate["status"] is ProofStatus.OPTIMAL
    agree = (
        equal(claims.document.get("score"), certificate["score"])
        and abs(gap - certificate["gap"]) <= ROUNDING
        and gap >= -ROUNDING
        and (gap <= CLOSED or not closed)
    )
    return Check(
        claim="status, score, bound and gap agree",
        holds=agree,
        detail=f"{certificate['status']}: {certificate['score']:.12g}, at most {certificate['upper_bound']:.12g}",
    )


def _nothing_above(enumeration: Enumeration, upper: float) -> Check:
    claim = f"no structure within the budgets scores more than {upper:.12g}"
    try:
        better = enumeration.exceeding()
    except TooManyError:
        return Check(
            claim=claim,
            holds=None,
            detail=f"more than {enumeration.looked_at} beginnings are left open; proven is only "
            f"{min(r.bound for r in enumeration.relaxations):.12g}",
        )
    if better is not None:
        score = enumeration.decisions.problem.space.score.of(better)
        return Check(claim=claim, holds=False, detail=f"one scores {score:.12g}")
    return Check(claim=claim, holds=True, detail=f"{enumeration.looked_at} beginnings of structures, none can")
