"""What is left behind: the file, sensitivity.json and assignment.json, in the forms of `quantize` without times."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from qedeploy.campaign.quantization.documents import (
    ASSIGNMENT_FILE,
    MODEL_FILE,
    SENSITIVITY_FILE,
    WrittenQuantization,
    certificate_document,
    problem_document,
)
from qedeploy.campaign.quantization.plots import SENSITIVITY_PLOT, draw_sensitivity
from qedeploy.campaign.quantization.request import QuantizationOptions
from qedeploy.campaign.typed_quantization.finding import TypedQuantization
from qedeploy.files import write_bytes, write_json
from qedeploy.publishing import together


def write_typed_quantization(
    found: TypedQuantization, folder: Path, options: QuantizationOptions, source: Mapping[str, Any]
) -> WrittenQuantization:
    """Write all files into `folder`; `source` says where network and data come from (JSON-ready)."""
    with together(folder):
        return WrittenQuantization(
            model=write_bytes(folder / MODEL_FILE, found.model),
            sensitivity=write_json(folder / SENSITIVITY_FILE, _sensitivity(found, options, source)),
            assignment=write_json(folder / ASSIGNMENT_FILE, _assignment(found, options, source)),
            plot=draw_sensitivity(
                folder / SENSITIVITY_PLOT,
                [item.layer for item in found.layers],
                {"error of the outputs": [(item.error, item.error_spread) for item in found.layers]},
                [item.precision for item in found.layers],
            ),
            front=None,
        )


def _sensitivity(found: TypedQuantization, options: QuantizationOptions, source: Mapping[str, Any]) -> dict[str, Any]:
    layers = found.quantizer.layers
    return {
        "format": "qedeploy-sensitivity/1",
        **source,
        "calibration": options.method.value,
        "layers": [
            {
                **asdict(item),
                "operator": layers[item.layer].found.operator,
                "macs": layers[item.layer].found.macs,
                "weights": int(layers[item.layer].found.weight.size),
            }
            for item in found.layers
        ],
        "sets": [asdict(item) for item in found.sets],
        "tied_ranges": [asdict(item) for item in found.quantizer.tied],
        "refused": dict(found.quantizer.refused),
    }


def _assignment(found: TypedQuantization, options: QuantizationOptions, source: Mapping[str, Any]) -> dict[str, Any]:
    document: dict[str, Any] = {
        "format": "qedeploy-assignment/1",
        **source,
        "file": {"name": MODEL_FILE, "sha256": hashlib.sha256(found.model).hexdigest()},
        "budgets": {name: limit for name, limit in asdict(options.budgets).items() if limit is not None},
        "precisions": dict(found.precisions),
        "metric": None if options.metric is None else {"name": options.metric.name, "max_drop": options.max_drop},
        "reason": found.reason,
        "measured": {
            "error": found.error,
            "metric_drop": found.drop,
            "float16_error": found.float16_error,
            "float32_error": None if found.winner is None else found.winner.measured.error,
        },
        "checked": {"float32": asdict(found.exact), "float16": asdict(found.half)},
    }
    if found.winner is not None and found.proof is not None:
        document["certificate"] = certificate_document(found.winner.assignment, found.proof)
        document["problem"] = problem_document(found.winner.problem)
    return document
