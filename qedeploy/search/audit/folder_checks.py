"""Checks of the files that lie beside a search.json: do they belong to it, and to each other?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from qedeploy.errors import UserError
from qedeploy.files import sha256
from qedeploy.network.lightnas import to_text
from qedeploy.network.structure import Structure
from qedeploy.network.structure_file import from_document
from qedeploy.schema import read_json
from qedeploy.search.audit.checks import Check, equal
from qedeploy.search.costs.registry import Budgets, budget_costs, budget_named
from qedeploy.search.result import FRONT_FILE, LIGHTNAS_FILE, MODEL_FILE, STRUCTURE_FILE
from qedeploy.search.space.membership import outside
from qedeploy.search.space.space import SearchSpace

_BENCH_FILE, _EXPORT_SUFFIX = "bench.json", ".export.json"

ReadModel = Callable[[Path], Structure]
"""Returns the structure of a model.pth; raises UserError for a file that is none."""


def folder_checks(
    folder: Path, structures: list[Structure], space: SearchSpace, budgets: Budgets, read_model: ReadModel
) -> list[Check]:
    """Return the checks of the files in `folder`; `structures` are those of its search.json, the best one first."""
    best = structures[0]
    checks = [_structure_file(folder / STRUCTURE_FILE, best)]
    if (folder / MODEL_FILE).exists():
        checks.append(_model(folder / MODEL_FILE, best, read_model))
    if (folder / LIGHTNAS_FILE).exists():
        same = (folder / LIGHTNAS_FILE).read_bytes() == to_text(*structures).encode()
        checks.append(_told(LIGHTNAS_FILE, same, "the same structures", "other structures than search.json has"))
    if (folder / FRONT_FILE).exists():
        checks.append(_front(folder / FRONT_FILE, space, budgets))
    for record in sorted(folder.glob("*.json")):
        checks.extend(_hashes(folder, record))
    return checks


def _told(claim: str, holds: bool, good: str, bad: str) -> Check:
    return Check(claim=claim, holds=holds, detail=good if holds else bad)


def _structure_file(path: Path, best: Structure) -> Check:
    if not path.exists():
        return Check(claim=path.name, holds=False, detail="missing; the search wrote one")
    same = from_document(read_json(path), path) == best
    return _told(path.name, same, "the same structure", "another structure than search.json has")


def _model(path: Path, best: Structure, read_model: ReadModel) -> Check:
    try:
        same = read_model(path) == best
    except UserError as error:
        return Check(claim=path.name, holds=False, detail=str(error))
    # Its weights may be trained since: only what they are weights of is a claim.
    return _told(path.name, same, "weights of the same structure", "weights of another structure than search.json has")


def _front(path: Path, space: SearchSpace, budgets: Budgets) -> Check:
    """Return whether each point is a structure of the space with the figures it states, within the other budgets."""
    try:
        document = read_json(path)
        kind, points = budget_named(document["budget"]), document["points"]
        for number, point in enumerate(points, start=1):
            structure = from_document(point["structure"], f"{path}: point {number}")
            costs = budget_costs(structure, space)
            fault = outside(structure, space)
            if fault is None and not equal(point["score"], space.score.of(structure)):
                fault = f"scores {space.score.of(structure):.12g}"
            if fault is None and not equal(point["cost"], costs[kind]):
                fault = f"costs {costs[kind]:.12g}"
            broken = [str(other) for other, limit in budgets.items() if other != kind and costs[other] > limit]
            if fault is not None or broken:
                detail = fault or f"breaks {', '.join(broken)}"
                return Check(claim=path.name, holds=False, detail=f"point {number}: {detail}")
    except (KeyError, TypeError, ValueError, UserError) as error:
        return Check(claim=path.name, holds=False, detail=f"not as qedeploy writes it: {error!r}")
    return Check(claim=path.name, holds=True, detail=f"{len(points)} points have the figures they state")


def _hashes(folder: Path, record: Path) -> list[Check]:
    """Return a check for every file of the folder whose SHA-256 a record beside it holds."""
    states_files = record.name == _BENCH_FILE or record.name.endswith(_EXPORT_SUFFIX)
    try:
        document = read_json(record)
    except UserError:
        if states_files:
            raise
        # Somebody else's file.
        return []
    document = document if isinstance(document, dict) else {}
    entries = _recorded(document) if states_files else _built_files(document, record)
    if not entries and states_files:
        detail = "records the SHA-256 of no file: not as qedeploy writes it"
        return [Check(claim=record.name, holds=False, detail=detail)]
    # An export and what was built of it lie beside what they record first; other files may have stayed elsewhere.
    needed = {name for name, _ in entries[:1] if record.name != _BENCH_FILE}
    checks = []
    for name, recorded in entries:
        file, claim = folder / name, f"{name} is the file of {record.name}"
        if Path(name).name != name:
            continue
        if file.exists():
            found = sha256(file)
            bad = f"SHA-256 {found[:12]}..., recorded {recorded[:12]}..."
            checks.append(_told(claim, found == recorded, "SHA-256 as recorded", bad))
        elif name in needed:
            checks.append(Check(claim=claim, holds=False, detail="missing"))
    return checks


def _built_files(document: Mapping[str, Any], record: Path) -> list[tuple[str, str]]:
    """Return name and SHA-256 of what the record of an artefact states, whichever runtime built it.

    `sha256` is of the file whose name the record has, but for .json; `onnx_sha256` of the file that `onnx` names, or,
    where nothing does, of the one with the record's stem and that suffix.
    """
    files = []
    for key, digest in document.items():
        what, _, rest = key.rpartition("sha256")
        if rest or not isinstance(digest, str):
            continue
        suffix = what.removesuffix("_")
        name = document.get(suffix, f"{record.stem}.{suffix}") if suffix else record.stem
        if isinstance(name, str):
            files.append((name, digest))
    return files


def _recorded(value: object) -> list[tuple[str, str]]:
    """Return the name and SHA-256 of every file that a JSON value records, however deep."""
    if isinstance(value, list):
        return [entry for item in value for entry in _recorded(item)]
    if not isinstance(value, dict):
        return []
    inner = [entry for item in value.values() for entry in _recorded(item)]
    name, digest = value.get("file", value.get("name")), value.get("sha256")
    return [(name, digest), *inner] if isinstance(name, str) and isinstance(digest, str) else inner
