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
from qedeploy.network.costs import executed_bitops, structure_costs
from qedeploy.network.graph import structure_graph
from qedeploy.network.layers import Position, expand_layers
from qedeploy.network.lightnas import to_text
from qedeploy.network.structure import Structure
from qedeploy.network.structure_file import from_document, to_document
from qedeploy.profiles.loader import FOLDER, profile_path
from qedeploy.schema import read_json
from qedeploy.search.request import TABLE_FILE, Request
from qedeploy.search.score.score import bit_entropy, qe_score
from qedeploy.search.space.space import BudgetKind, Budgets, SearchSpace

FORMAT = "qedeploy-search/1"
STRUCTURE_FILE = "structure.json"
LIGHTNAS_FILE = "best_structure.txt"
SEARCH_FILE = "search.json"

_BLIND_BELOW = 0.005
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


def budget_costs(structure: Structure, space: SearchSpace) -> dict[BudgetKind, float]:
    """Return every cost of `structure` that a budget can limit, by `network.costs` and the space's latency model."""
    costs = structure_costs(structure)
    executed = {
        layer.name: space.executed[layer.category, layer.bits]
        for layer in expand_layers(structure)
        if layer.position is not Position.CLASSIFIER
    }
    found = {
        BudgetKind.BITOPS: costs.bitops,
        BudgetKind.EXECUTED_BITOPS: executed_bitops(structure, executed),
        BudgetKind.FLOPS: costs.flops,
        BudgetKind.SIZE: costs.size_bytes,
        BudgetKind.PEAK_MEMORY: costs.peak_memory_bytes,
        BudgetKind.LAYERS: float(costs.layers),
    }
    if space.latency is not None:
        found[BudgetKind.LATENCY] = space.latency.seconds(structure_graph(structure))
    return found


def keeps(structure: Structure, space: SearchSpace, budgets: Budgets) -> bool:
    """Say whether `structure` keeps every limit, judged layer by layer."""
    costs = budget_costs(structure, space)
    return all(costs[kind] <= limit for kind, limit in budgets.items())


def score_is_blind(space: SearchSpace) -> bool:
    """Say whether the widths of `space` leave the score unchanged, so that its quantization part is a constant."""
    spreads = []
    for pairs in space.pairs.values():
        entropies = [bit_entropy(bits, space.score) for bits in pairs]
        spreads.append(max(entropies) - min(entropies))
    return max(spreads) < _BLIND_BELOW


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
    for kind, entry in document["budgets"].items():
        entry["used"] = costs[BudgetKind(kind)]
    document |= {
        "evaluations": result.evaluations,
        "score": qe_score(result.structure, request.recipe.score),
        "flops": costs[BudgetKind.FLOPS],
        "bitops": costs[BudgetKind.BITOPS],
        "executed_bitops": costs[BudgetKind.EXECUTED_BITOPS],
        "size_bytes": costs[BudgetKind.SIZE],
        "layers": int(costs[BudgetKind.LAYERS]),
        "peak_memory_bytes": costs[BudgetKind.PEAK_MEMORY],
    }
    if BudgetKind.LATENCY in costs:
        document["latency_seconds"] = costs[BudgetKind.LATENCY]
    if result.evidence is not None:
        document["evidence"] = dict(result.evidence)
    return {**document, "structure": to_document(result.structure)}


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
