"""What `quantize` leaves behind: the winner's file, sensitivity.json and assignment.json."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from qedeploy.bench.measure.interleave import Ratio
from qedeploy.campaign.quantization.network_quantization import Quantization
from qedeploy.campaign.quantization.plots import FRONT_PLOT, SENSITIVITY_PLOT, draw_front, draw_sensitivity
from qedeploy.campaign.quantization.request import QuantizationOptions
from qedeploy.files import sha256, write_bytes, write_json
from qedeploy.publishing import together
from qedeploy.search.assign.front import AssignmentFront
from qedeploy.search.assign.problem import FLOAT, AssignmentProblem
from qedeploy.search.assign.proof import Proof
from qedeploy.search.assign.solver import Assignment

MODEL_FILE, SENSITIVITY_FILE, ASSIGNMENT_FILE = "model.onnx", "sensitivity.json", "assignment.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenQuantization:
    """The files that were written."""

    model: Path
    sensitivity: Path
    assignment: Path
    plot: Path
    front: Path | None


def write_quantization(
    found: Quantization,
    folder: Path,
    options: QuantizationOptions,
    source: Mapping[str, Any],
    front: AssignmentFront | None,
) -> WrittenQuantization:
    """Write all files into `folder`; `source` says where network and data come from (JSON-ready)."""
    with together(folder):
        return _written(found, folder, options, source, front)


def _written(
    found: Quantization,
    folder: Path,
    options: QuantizationOptions,
    source: Mapping[str, Any],
    front: AssignmentFront | None,
) -> WrittenQuantization:
    return WrittenQuantization(
        model=write_bytes(folder / MODEL_FILE, found.model),
        sensitivity=write_json(folder / SENSITIVITY_FILE, sensitivity_document(found, options, source)),
        assignment=write_json(folder / ASSIGNMENT_FILE, assignment_document(found, options, source, front)),
        plot=draw_sensitivity(
            folder / SENSITIVITY_PLOT,
            [item.layer for item in found.layers],
            {
                "error of the outputs": [(item.error, item.error_spread) for item in found.layers],
                "time saved, us": [(-item.seconds * 1e6, 0.0) for item in found.layers],
            },
            [item.precision for item in found.layers],
        ),
        front=None if front is None else draw_front(folder / FRONT_PLOT, front, found.contest.contestants),
    )


def source_document(model: Path, data: object, samples: int, profile: str) -> dict[str, Any]:
    """Return where a network and its data come from."""
    return {
        "model": {"name": model.name, "sha256": sha256(model)},
        "data": {"folder": str(data), "samples": samples},
        "profile": profile,
    }


def sensitivity_document(
    found: Quantization, options: QuantizationOptions, source: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what each layer costs in each precision, and what layers cost together; times in seconds."""
    quantizer = found.quantizer
    return {
        "format": "qedeploy-sensitivity/1",
        **source,
        "calibration": options.method.value,
        "improvement": None if found.improvement is None else asdict(found.improvement),
        "float_seconds": found.float_seconds,
        "layers": [
            {
                **asdict(item),
                "operator": quantizer.layers[item.layer].operator,
                "macs": quantizer.layers[item.layer].macs,
                "weights": int(quantizer.layers[item.layer].weight.size),
            }
            for item in found.layers
        ],
        "sets": [asdict(item) for item in found.sets],
        "savings": {
            "share_of_layout": found.savings.layout,
            "share_of_numbers": found.savings.numbers,
            "corrections": [
                {"layer": layer, "precision": precision, "seconds": seconds}
                for (layer, precision), seconds in found.savings.corrections.items()
            ],
            "worst_share": found.savings.worst,
            "sets": found.savings.sets,
        },
        "tied_ranges": [asdict(item) for item in quantizer.tied],
        "refused": dict(quantizer.refused),
    }


def assignment_document(
    found: Quantization, options: QuantizationOptions, source: Mapping[str, Any], front: AssignmentFront | None
) -> dict[str, Any]:
    """Return the precision of every layer, why, with what proof, and what measuring the file found."""
    assignment, contest = found.assignment, found.contest
    precisions = assignment.precisions if assignment is not None else dict.fromkeys(found.quantizer.layers, FLOAT)
    document: dict[str, Any] = {
        "format": "qedeploy-assignment/1",
        **source,
        "file": {"name": MODEL_FILE, "sha256": hashlib.sha256(found.model).hexdigest()},
        "budgets": {name: limit for name, limit in asdict(options.budgets).items() if limit is not None},
        "precisions": precisions,
        "metric": None if options.metric is None else {"name": options.metric.name, "max_drop": options.max_drop},
        "reason": contest.reason,
        "preparation": _ratio(contest.preparation),
        "measured": [
            {
                "layers_in_integers": len(item.assignment.quantized),
                "predicted_share": item.predicted,
                "time_over_prepared": _ratio(item.time),
                "time_over_original": _ratio(item.over_original),
                "predicted_error": item.assignment.costs.error,
                "measured_error": item.error,
                "metric_drop": item.drop,
            }
            for item in contest.contestants
        ],
    }
    if assignment is not None and found.proof is not None:
        document["certificate"] = certificate_document(assignment, found.proof)
        problem = found.contest.winner.problem if found.contest.winner is not None else found.problem
        document["problem"] = problem_document(problem)
    if found.check is not None:
        document["checked"] = asdict(found.check)
    if front is not None:
        document["front"] = [
            {"seconds": float(seconds), "error": float(error)}
            for seconds, error in zip(front.seconds, front.errors, strict=True)
        ]
    return document


def certificate_document(assignment: Assignment, proof: Proof) -> dict[str, Any]:
    """Return as JSON-ready data what shows that an assignment is the best of its problem."""
    return {
        "minimised": assignment.objective.value,
        "limits": assignment.limits.given,
        "costs": asdict(assignment.costs),
        "bound": assignment.bound,
        "gap": assignment.gap,
        "second_way": asdict(proof),
    }


def problem_document(problem: AssignmentProblem) -> dict[str, Any]:
    """Return a problem as JSON-ready data: what `verify` solves again."""
    return {
        "float_seconds": problem.float_seconds,
        "layers": [asdict(layer) for layer in problem.layers],
        "savings": [asdict(item) for item in problem.savings],
    }


def _ratio(ratio: Ratio) -> dict[str, float]:
    return {"value": ratio.value, "low": ratio.low, "high": ratio.high, "rounds": ratio.rounds}
