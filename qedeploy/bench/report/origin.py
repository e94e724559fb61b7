"""Finds what is known of a measured model: in its metadata, and in search.json and accuracy.json beside it.

A file that says nothing of the model, or that is broken, is passed over: the measurement stands without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qedeploy.bench.report.surroundings import AccuracyRecord, BudgetUse, SearchRecord, Surroundings
from qedeploy.errors import UserError
from qedeploy.runtimes.registry import runtimes
from qedeploy.runtimes.runner import RunnerDescription
from qedeploy.schema import read_json
from qedeploy.train.class_report import ClassAccuracy, ClassAnswers

if TYPE_CHECKING:
    from qedeploy.network.structure import Structure
    from qedeploy.qdq.metadata import ModelMetadata

_ACCURACY_FILE = "accuracy.json"
_BROKEN = (AttributeError, KeyError, TypeError, ValueError, UserError)
"""What reading a file of another form can end in."""


def planned_for(plan_runtime: str, runner: RunnerDescription) -> bool:
    """Return whether a lowering plan was made for the runtime that measures."""
    return any(runtime.name == plan_runtime and runtime.label == runner.runtime for runtime in runtimes())


def surroundings_of(path: Path, sha256: str, metadata: ModelMetadata | None, runner: RunnerDescription) -> Surroundings:
    """Return what is known of the model in `path`, whose metadata and SHA-256 are given."""
    accuracy = _accuracy(path.parent / _ACCURACY_FILE, sha256)
    if metadata is None:
        return Surroundings(accuracy=accuracy)
    elsewhere = None if planned_for(metadata.plan.runtime, runner) else _label(metadata.plan.runtime)
    if metadata.structure is None:
        return Surroundings(elsewhere=elsewhere, accuracy=accuracy)
    from qedeploy.network.costs import structure_costs

    costs = structure_costs(metadata.structure)
    search = _search(path, metadata.structure)
    return Surroundings(
        network=_published(metadata.structure) or (search.recipe if search else None),
        elsewhere=elsewhere,
        weight_bytes=costs.size_bytes,
        peak_memory_bytes=costs.peak_memory_bytes,
        search=search,
        accuracy=accuracy,
    )


def _label(name: str) -> str:
    return next((runtime.label for runtime in runtimes() if runtime.name == name), name)


def _published(structure: Structure) -> str | None:
    """Return the name of the published model of these layers; for which classes does not matter."""
    from dataclasses import replace

    from qedeploy.network.published import published_models

    for model in published_models():
        if replace(model.structure, classifier=structure.classifier, resolution=structure.resolution) == structure:
            return model.name
    return None


def _search(path: Path, structure: Structure) -> SearchRecord | None:
    """Return the search that found `structure`: a run's folder has its models, and trained/ below it others."""
    from qedeploy.search.result import SEARCH_FILE

    for folder in (path.absolute().parent, path.absolute().parent.parent):
        record = _search_record(folder / SEARCH_FILE, structure)
        if record is not None:
            return record
    return None


def _search_record(file: Path, structure: Structure) -> SearchRecord | None:
    from qedeploy.network.structure_file import from_document

    if not file.is_file():
        return None
    try:
        document = read_json(file)
        if from_document(document["structure"], file) != structure:
            return None
        return SearchRecord(
            recipe=str(document["recipe"]["name"]),
            profile=str(document["profile"]["name"]),
            score=float(document["score"]),
            proof=_proof(document),
            budgets=tuple(_budgets(document["budgets"])),
        )
    except _BROKEN:
        return None


def _proof(document: Mapping[str, Any]) -> str:
    evidence = document.get("evidence") or {}
    certificate = evidence.get("certificate")
    if not certificate:
        return f"found by {document['method']['name']}: how much better another could be is not known"
    from qedeploy.search.exact.certificate import ProofStatus

    bound = float(certificate["upper_bound"])
    if certificate["status"] == ProofStatus.OPTIMAL:
        return f"proven the best of its space: no structure within the budgets scores above {bound:.3f}"
    return f"{certificate['status']}: another structure could score up to {bound:.3f}"


def _budgets(budgets: Mapping[str, Any]) -> Iterator[BudgetUse]:
    from qedeploy.search.costs.registry import budget_named

    for name, entry in budgets.items():
        budget = budget_named(name)
        used, limit = float(entry["used"]), float(entry["limit"])
        yield BudgetUse(
            name=name,
            label=budget.label,
            used=used,
            limit=limit,
            used_text=budget.text(used),
            limit_text=budget.text(limit),
        )


def _accuracy(file: Path, sha256: str) -> AccuracyRecord | None:
    """Return what accuracy.json says, where it is about this very file."""
    if not file.is_file():
        return None
    try:
        document = read_json(file)
        model = document["model"]
        if model["sha256"] != sha256:
            return None
        return accuracy_record(document)
    except _BROKEN:
        return None


def accuracy_record(document: Mapping[str, Any]) -> AccuracyRecord:
    """Return what the content of an accuracy.json says; raises KeyError, TypeError or ValueError for another form."""
    model = document["model"]
    top1, top5 = model["top1"], model["top5"]
    return AccuracyRecord(
        top1=float(top1["value"]),
        interval=(float(top1["low"]), float(top1["high"])),
        images=int(top1["count"]),
        data=Path(str(document["data"]["path"])).name,
        runtime=str(model["runtime"]),
        top5=None if top5 is None else float(top5["value"]),
        answers=ClassAnswers.of([ClassAccuracy(**one) for one in document["classes"]], document["confusion"]),
    )
