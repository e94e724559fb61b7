"""What a search found, and the files that say so: the same bytes for the same search."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qedeploy.errors import UserError
from qedeploy.files import write_bytes, write_json, write_text
from qedeploy.latency.table import write_table
from qedeploy.network.lightnas import to_text
from qedeploy.network.structure import Structure
from qedeploy.network.structure_file import from_document, to_document
from qedeploy.profiles.loader import FOLDER, profile_path
from qedeploy.schema import read_json
from qedeploy.search.costs.budget import Budget
from qedeploy.search.costs.budgets.counted import BITOPS, EXECUTED_BITOPS, FLOPS, LAYERS, SIZE
from qedeploy.search.costs.budgets.peak_memory import PEAK_MEMORY
from qedeploy.search.costs.budgets.planned import planned_sram
from qedeploy.search.costs.registry import budget_costs, budget_named
from qedeploy.search.request import TABLE_FILE, Request
from qedeploy.search.space.space import SearchSpace

FORMAT = "qedeploy-search/1"
STRUCTURE_FILE = "structure.json"
LIGHTNAS_FILE = "best_structure.txt"
SEARCH_FILE = "search.json"
MODEL_FILE = "model.pth"
FRONT_FILE = "front.json"

_DOCUMENTED = (FLOPS, BITOPS, EXECUTED_BITOPS, SIZE, LAYERS, PEAK_MEMORY)

BLIND_BELOW = 0.005
"""Nats between the best and the worst pair of a layer below which the score does not tell them apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """The structure a method settled on. `method` and `settings` (JSON-ready) are what a repeat needs.

    `evaluations` counts the structures that were scored. `evidence` (JSON-ready) is what the method can say about how
    good the structure is, such as a bound on any other's score; it must be the same in every run of the search.
    """

    method: str
    settings: Mapping[str, Any]
    structure: Structure
    evaluations: int
    evidence: Mapping[str, Any] | None = None


def score_is_blind(space: SearchSpace) -> bool:
    """Say whether the widths of `space` leave the score unchanged, so that its quantization part is a constant."""
    spreads = []
    for kind, pairs in space.pairs.items():
        entropies = [space.score.pair_term(kind, bits) for bits in pairs]
        spreads.append(max(entropies) - min(entropies))
    return max(spreads) < BLIND_BELOW


def settings_document(request: Request, method: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return all that decides a search, as JSON-ready data."""
    return {**request.document(), "method": {"name": method, **settings}}


def result_folder(request: Request, settings: Mapping[str, Any], out: Path | None = None) -> Path:
    """Return `out`, or for None a folder below runs/ that the same settings lead to again; raises as `run_folder`."""
    return run_folder(f"{request.profile.name}-{request.recipe.name}", settings, out)


def run_folder(name: str, settings: Mapping[str, Any], out: Path | None) -> Path:
    """Return `out`, or for None the folder below runs/ of this name and these settings (JSON-ready).

    Raises UserError where `out` is a file.
    """
    if out is not None:
        if out.exists() and not out.is_dir():
            raise UserError(f"--out {out}: expected a folder, found a file; choose another name")
        return out
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
    return Path("runs") / f"{name}-{digest}"


def search_document(request: Request, result: SearchResult) -> dict[str, Any]:
    """Return search.json: settings, score, costs, structure; nothing that differs between equal runs."""
    costs = budget_costs(result.structure, request.space)
    document = {"format": FORMAT, **settings_document(request, result.method, result.settings)}
    for name, entry in document["budgets"].items():
        entry["used"] = costs[budget_named(name)]
    document |= {"evaluations": result.evaluations, "score": request.recipe.score.of(result.structure)}
    document |= {budget.key: budget.figure(cost) for budget, cost in in_document_order(costs).items()}
    plan = planned_sram(result.structure, request.space)
    if plan is not None:
        document["sram_plan"] = plan.document()
    if result.evidence is not None:
        document["evidence"] = dict(result.evidence)
    return {**document, "structure": to_document(result.structure)}


def in_document_order(costs: Mapping[Budget, float]) -> dict[Budget, float]:
    """Return `costs` in the order in which search.json states them."""
    return {budget: costs[budget] for budget in dict.fromkeys([*_DOCUMENTED, *costs]) if budget in costs}


def write_result(folder: Path, request: Request, result: SearchResult) -> None:
    """Write structure.json, search.json, the latency table in play and a profile of the user's own into `folder`.

    Raises UserError where it does not take them.
    """
    if request.space.latency is not None:
        write_table(folder / TABLE_FILE, request.space.latency.table)
    profile = profile_path(request.profile_argument)
    if profile.parent != FOLDER:
        # What ships is found again by its name, the user's own only here.
        write_bytes(folder / profile.name, profile.read_bytes())
    write_json(folder / STRUCTURE_FILE, to_document(result.structure))
    write_json(folder / SEARCH_FILE, search_document(request, result))


def write_lightnas(folder: Path) -> Path:
    """Write the structures of `folder` once more, as the reference's structure text; returns the file.

    The best comes first, then the alternatives where the search listed some, as the reference's num_network does.
    """
    document = read_json(folder / SEARCH_FILE)
    alternatives = (document.get("evidence") or {}).get("alternatives", [])
    found = [from_document(item["structure"], folder / SEARCH_FILE) for item in (document, *alternatives)]
    return write_text(folder / LIGHTNAS_FILE, to_text(*found))
