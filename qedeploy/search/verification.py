"""Checks of a finished search: does search.json say the truth, and do the files beside it belong to it?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qedeploy.errors import RequestError, UserError
from qedeploy.files import sha256
from qedeploy.network.document import from_document
from qedeploy.network.structure import Structure
from qedeploy.profiles.loader import load_profile, profile_path
from qedeploy.schema import read_json
from qedeploy.search.decisions import Decisions
from qedeploy.search.exact.certificate import CLOSED, Status
from qedeploy.search.exact.problem import Problem
from qedeploy.search.latency.model import LatencyModel
from qedeploy.search.latency.table import read_table
from qedeploy.search.membership import outside
from qedeploy.search.recipe_file import recipe_from_document
from qedeploy.search.request import TABLE_FILE
from qedeploy.search.result import FORMAT, SEARCH_FILE, STRUCTURE_FILE, budget_costs
from qedeploy.search.score import qe_score
from qedeploy.search.second_route import ROUNDING, Enumeration, TooManyError, relax
from qedeploy.search.space import BudgetKind, SearchSpace
from qedeploy.search.space_builder import build_space

_RECORDS = ("*.export.json", "bench.json", "engine.json")
"""Files of a run folder that record the SHA-256 of others beside them."""

_COSTS = {
    "flops": BudgetKind.FLOPS,
    "bitops": BudgetKind.BITOPS,
    "executed_bitops": BudgetKind.EXECUTED_BITOPS,
    "size_bytes": BudgetKind.SIZE,
    "layers": BudgetKind.LAYERS,
    "peak_memory_bytes": BudgetKind.PEAK_MEMORY,
    "latency_seconds": BudgetKind.LATENCY,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One claim of a file: what it is, whether it holds, and the figures behind the verdict."""

    claim: str
    holds: bool
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What a search.json says, read but not yet believed."""

    document: dict[str, Any]
    structure: Structure
    space: SearchSpace
    budgets: dict[BudgetKind, float]
    profile_file: Path
    latency_file: Path | None


def verify(path: Path, *, profile: str | None = None) -> list[Check]:
    """Return every check of a search.json, or of a run folder and the files in it.

    `profile` is the device's file where search.json names one that does not ship with qedeploy. Raises UserError for
    what cannot be read.
    """
    search = path / SEARCH_FILE if path.is_dir() else path
    claims = read_claims(search, profile)
    checks = [_profile_is(claims), *_table_is(claims), _membership(claims), *_figures(claims), *_bound(claims)]
    return [*checks, *_files(path, claims)] if path.is_dir() else checks


def read_claims(path: Path, profile: str | None) -> Claims:
    """Return what a search.json claims; raises UserError naming the file and what is missing or wrong in it."""
    document = read_json(path)
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise UserError(f"{path}: expected a {FORMAT} document, as `qedeploy search` writes it")
    try:
        recipe_data = dict(document["recipe"])
        name = recipe_data.pop("name")
        device = document["profile"]["name"]
        budgets = {BudgetKind(kind): float(entry["limit"]) for kind, entry in document["budgets"].items()}
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path}: recipe, profile or budgets: expected what `qedeploy search` writes: {error}"
        ) from error
    recipe = recipe_from_document(recipe_data, name=name, source=f"{path}: recipe")
    found, table = load_profile(profile or device), _latency_file(path, document)
    space = build_space(recipe, found, None if table is None else LatencyModel(read_table(table), found))
    if BudgetKind.LATENCY in budgets and table is None:
        raise UserError(f"{path}: latency_table: expected the record of the table that latency is predicted from")
    structure = from_document(document.get("structure"), f"{path}: structure")
    file = profile_path(profile or device)
    return Claims(
        document=document, structure=structure, space=space, budgets=budgets, profile_file=file, latency_file=table
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
    score = qe_score(claims.structure, claims.space.score)
    figures = {"score": score, **{name: costs[kind] for name, kind in _COSTS.items() if kind in costs}}
    checks = [
        Check(
            claim=name,
            holds=_equal(claims.document.get(name), value),
            detail=_compared(claims.document.get(name), value),
        )
        for name, value in figures.items()
    ]
    for kind, limit in claims.budgets.items():
        used = claims.document["budgets"][kind].get("used")
        holds = costs[kind] <= limit and _equal(used, costs[kind])
        detail = f"{costs[kind]:.12g} of {limit:.12g}" + (
            "" if _equal(used, costs[kind]) else f", the file says {used}"
        )
        checks.append(Check(claim=f"budget {kind} is kept", holds=holds, detail=detail))
    return checks


def _equal(found: object, expected: float) -> bool:
    return isinstance(found, int | float) and math.isclose(found, expected, rel_tol=1e-12, abs_tol=ROUNDING)


def _compared(found: object, value: float) -> str:
    return f"recomputed {value:.12g}" + ("" if _equal(found, value) else f", the file says {found}")


def _bound(claims: Claims) -> list[Check]:
    if claims.document.get("method", {}).get("name") != "exact":
        return []
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
        detail=_compared(recorded, bound),
    )


def _certificate(claims: Claims) -> dict[str, Any]:
    try:
        found = dict(claims.document["evidence"]["certificate"])
        for key in ("score", "upper_bound", "gap", "relaxed_bound"):
            found[key] = float(found[key])
        budgets = {kind.value for kind in claims.budgets if kind is not BudgetKind.PEAK_MEMORY}
        for row in (found["multipliers"], *found["prices"]):
            if set(row) != budgets or not all(isinstance(price, int | float) for price in row.values()):
                raise ValueError("a price for each budget is expected")
        found["status"] = Status(found["status"])
    except (KeyError, TypeError, ValueError) as error:
        raise RequestError(f"search.json: evidence.certificate: incomplete or changed: {error}") from error
    return found


def _consistency(claims: Claims, certificate: dict[str, Any]) -> Check:
    gap = certificate["upper_bound"] - certificate["score"]
    closed = certificate["status"] is Status.OPTIMAL
    agree = (
        _equal(claims.document.get("score"), certificate["score"])
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
            holds=False,
            detail=f"not confirmed: more than {enumeration.looked_at} beginnings are left open; proven is only "
            f"{min(r.bound for r in enumeration.relaxations):.12g}",
        )
    if better is not None:
        score = qe_score(better, enumeration.decisions.problem.space.score)
        return Check(claim=claim, holds=False, detail=f"one scores {score:.12g}")
    return Check(claim=claim, holds=True, detail=f"{enumeration.looked_at} beginnings of structures, none can")


def _files(folder: Path, claims: Claims) -> list[Check]:
    checks = []
    beside = folder / STRUCTURE_FILE
    if beside.exists():
        same = from_document(read_json(beside), beside) == claims.structure
        detail = "the same structure" if same else "another structure than search.json has"
        checks.append(Check(claim=STRUCTURE_FILE, holds=same, detail=detail))
    for record in sorted(record for pattern in _RECORDS for record in folder.glob(pattern)):
        checks.extend(_hashes(folder, record.name))
    return checks


def _hashes(folder: Path, record: str) -> list[Check]:
    """Return a check for every file of the folder whose SHA-256 the record `record` holds."""
    checks = []
    for name, recorded in _recorded(read_json(folder / record)):
        file = folder / name
        if Path(name).name != name or not file.exists():
            continue
        found = sha256(file)
        detail = "SHA-256 as recorded" if found == recorded else f"SHA-256 {found[:12]}..., recorded {recorded[:12]}..."
        checks.append(Check(claim=f"{name} is the file of {record}", holds=found == recorded, detail=detail))
    return checks


def _recorded(value: object) -> list[tuple[str, str]]:
    """Return the name and SHA-256 of every file that a JSON value records, however deep."""
    if isinstance(value, list):
        return [entry for item in value for entry in _recorded(item)]
    if not isinstance(value, dict):
        return []
    inner = [entry for item in value.values() for entry in _recorded(item)]
    name, digest = value.get("file", value.get("name")), value.get("sha256")
    return [(name, digest), *inner] if isinstance(name, str) and isinstance(digest, str) else inner
