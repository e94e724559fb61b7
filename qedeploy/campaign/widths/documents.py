"""What `quantize` leaves of a checkpoint: model.pth with its new widths, and why: sensitivity and assignment."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from qedeploy.campaign.quantization.documents import certificate_document, problem_document
from qedeploy.campaign.quantization.plots import SENSITIVITY_PLOT, draw_sensitivity
from qedeploy.campaign.widths.finding import FoundWidths
from qedeploy.campaign.widths.request import WidthRequest
from qedeploy.files import sha256, write_json
from qedeploy.network.structure_file import to_document
from qedeploy.publishing import together
from qedeploy.search.result import MODEL_FILE, STRUCTURE_FILE
from qedeploy.train.accuracy import Share
from qedeploy.train.sensitivity import Side

SENSITIVITY_FILE, ASSIGNMENT_FILE = "sensitivity.json", "assignment.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenWidths:
    """The files that were written."""

    model: Path
    structure: Path
    sensitivity: Path
    assignment: Path
    plot: Path


def write_widths(found: FoundWidths, request: WidthRequest, folder: Path) -> WrittenWidths:
    """Write all files into `folder`."""
    with together(folder):
        return _written(found, request, folder)


def _written(found: FoundWidths, request: WidthRequest, folder: Path) -> WrittenWidths:
    model = found.checkpoint.save(folder / MODEL_FILE)
    source = {
        "model": {"name": request.checkpoint.name, "sha256": sha256(request.checkpoint)},
        "data": {"folder": str(request.data), "samples": found.samples},
        "profile": found.profile.name,
    }
    return WrittenWidths(
        model=model,
        structure=write_json(folder / STRUCTURE_FILE, to_document(found.checkpoint.structure)),
        sensitivity=write_json(folder / SENSITIVITY_FILE, _sensitivity(found, source)),
        assignment=write_json(folder / ASSIGNMENT_FILE, _assignment(found, request, model, source)),
        plot=_plot(found, folder / SENSITIVITY_PLOT),
    )


def _plot(found: FoundWidths, path: Path) -> Path:
    """Draw what every width of every layer costs, weights and inputs apart."""
    bits = sorted({item.bits for item in found.errors})
    rows = [(layer.name, width) for layer in found.problem.layers for width in bits]
    known = {(item.layer, item.side, item.bits): (item.error, item.spread) for item in found.errors}
    return draw_sensitivity(
        path,
        [name for name, _ in rows],
        {
            f"loss by {what}, nats": [known.get((name, side, width), (math.nan, 0.0)) for name, width in rows]
            for what, side in (("weights", Side.WEIGHT), ("inputs", Side.ACTIVATION))
        },
        [f"{width} bits" for _, width in rows],
    )


def _sensitivity(found: FoundWidths, source: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "format": "qedeploy-width-sensitivity/1",
        **source,
        "unit": "nats",
        "layers": [asdict(item) for item in found.errors],
    }


def _assignment(found: FoundWidths, request: WidthRequest, model: Path, source: Mapping[str, Any]) -> dict[str, Any]:
    assignment = found.assignment
    return {
        "format": "qedeploy-assignment/1",
        **source,
        "file": {"name": MODEL_FILE, "sha256": sha256(model)},
        "budgets": {budget.name: f"{budget.limit:g}{'x' if budget.relative else ''}" for budget in request.budgets},
        "max_drop": request.max_drop,
        "precisions": assignment.precisions,
        "certificate": certificate_document(assignment, found.proof),
        "problem": problem_document(found.problem),
        "top1": None if found.before is None or found.after is None else {
            "before": _share(found.before), "after": _share(found.after), "apart": found.apart,
        },
    }  # fmt: skip


def _share(share: Share) -> dict[str, float]:
    return {"right": share.right, "count": share.count, "low": share.low, "high": share.high}
