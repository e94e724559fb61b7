"""Checks of an assignment.json: are its precisions within the limits, do the figures add up, is it the best?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qedeploy.errors import RequestError, UserError
from qedeploy.files import sha256
from qedeploy.schema import read_json
from qedeploy.search.assign.problem import (
    FIGURES,
    AssignmentCosts,
    AssignmentProblem,
    Choice,
    LayerChoices,
    Limits,
    Saving,
    costs,
)
from qedeploy.search.assign.proof import prove
from qedeploy.search.assign.solver import Assignment, Objective, assign
from qedeploy.search.audit.checks import Check, compared, equal

ASSIGNMENT_FILE = "assignment.json"
FORMAT = "qedeploy-assignment/1"
_REACHED = 1e-6
"""Share by which a value found anew may differ from the one that is claimed to be the least."""


def assignment_checks(path: Path) -> list[Check]:
    """Return every check of an assignment.json and of the model beside it; raises UserError for another file."""
    document = read_json(path)
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise UserError(f"{path}: expected a {FORMAT} document, as `qedeploy quantize` writes it")
    try:
        checks = [_file(path, document["file"])]
        if document.get("certificate") is None:
            said = str(document.get("reason", "float32 throughout"))
            return [*checks, Check(claim="best of its problem", holds=None, detail=f"measured, not computed: {said}")]
        problem, certificate = _problem(document["problem"]), document["certificate"]
        found = costs(problem, document["precisions"])
        claimed = Assignment(
            precisions=dict(document["precisions"]),
            costs=found,
            limits=Limits(**certificate["limits"]),
            objective=Objective(certificate["minimised"]),
            bound=float(certificate["bound"]),
        )
        checks += [*_figures(certificate["costs"], found), _within(claimed), _bound(problem, claimed)]
        proof = prove(problem, claimed)
        return [*checks, Check(claim="best, a second way", holds=proof.agrees, detail=proof.words)]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path}: not as qedeploy writes it: {error!r}") from error


def _problem(document: Mapping[str, Any]) -> AssignmentProblem:
    return AssignmentProblem(
        float_seconds=float(document["float_seconds"]),
        layers=tuple(
            LayerChoices(name=layer["name"], choices=tuple(Choice(**choice) for choice in layer["choices"]))
            for layer in document["layers"]
        ),
        savings=tuple(Saving(layers=tuple(item["layers"]), seconds=item["seconds"]) for item in document["savings"]),
    )


def _file(path: Path, recorded: Mapping[str, str]) -> Check:
    name, file = recorded["name"], path.parent / Path(recorded["name"]).name
    claim = f"{name} is the file of {path.name}"
    if not file.exists():
        return Check(claim=claim, holds=False, detail="missing")
    same = sha256(file) == recorded["sha256"]
    return Check(claim=claim, holds=same, detail="SHA-256 as recorded" if same else "another SHA-256 than recorded")


def _figures(claimed: Mapping[str, object], found: AssignmentCosts) -> list[Check]:
    values = {figure: float(getattr(found, figure)) for figure in FIGURES}
    return [
        Check(claim=figure, holds=equal(claimed[figure], value), detail=compared(claimed[figure], value))
        for figure, value in values.items()
    ]


def _within(claimed: Assignment) -> Check:
    limits = ", ".join(f"{figure} {limit:g}" for figure, limit in claimed.limits.given.items())
    return Check(claim="within its limits", holds=claimed.costs.within(claimed.limits), detail=limits or "none are set")


def _bound(problem: AssignmentProblem, claimed: Assignment) -> Check:
    """Return whether the linear program, solved anew, still finds nothing better."""
    own = float(getattr(claimed.costs, claimed.objective.value))
    try:
        again = assign(problem, claimed.limits, claimed.objective)
    except RequestError as error:
        return Check(claim="best of its problem", holds=False, detail=str(error))
    least = float(getattr(again.costs, claimed.objective.value))
    holds = least >= own - _REACHED * abs(own)
    return Check(claim="best of its problem", holds=holds, detail=f"solved anew: {least:.6g}, claimed {own:.6g}")
