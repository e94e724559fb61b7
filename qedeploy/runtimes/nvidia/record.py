"""engine.json: what a plan was built from, by what, for which machine. Without it a plan is a sealed box."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qedeploy.errors import MissingRuntimeError, UserError
from qedeploy.files import sha256, write_json
from qedeploy.network.graph import Graph, structure_graph
from qedeploy.network.structure import Structure
from qedeploy.qdq.metadata import ModelMetadata
from qedeploy.qdq.plan import LoweringPlan
from qedeploy.runtimes.nvidia.machine import Gpu
from qedeploy.runtimes.nvidia.product import TENSORRT
from qedeploy.runtimes.nvidia.settings import EngineSettings
from qedeploy.schema import read_json, validate

FORMAT = "qedeploy-engine/1"

_REBUILD = "build it again here with qedeploy export"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRecord:
    """A plan's provenance. `lowering` and its network are None for an engine of an ONNX file that is not ours.

    The network is a `structure` where it is one of our search spaces, else a `graph`.

    `gpu` is None for a plan that was compiled without one, for the compute capability `target`. `dropped` are layers
    whose Q/DQ was taken out because this GPU has no kernel for them; `lowering` already says float16 for those.
    `engine_layers` is what the engine inspector said, None where the plan could not be inspected.
    """

    tensorrt: str
    gpu: Gpu | None
    plan_sha256: str
    onnx: str
    onnx_sha256: str
    settings: EngineSettings
    profile: str = ""
    structure: Structure | None = None
    graph: Graph | None = None
    lowering: LoweringPlan | None = None
    dropped: tuple[str, ...] = ()
    engine_layers: Mapping[str, Any] | None = None
    target: str | None = None

    @property
    def metadata(self) -> ModelMetadata | None:
        """Return network and plan as an ONNX file carries them, None where they are not known."""
        graph = structure_graph(self.structure) if self.structure is not None else self.graph
        if graph is None or self.lowering is None:
            return None
        return ModelMetadata(graph=graph, profile=self.profile, plan=self.lowering)


def record_path(plan: Path) -> Path:
    """Return where the record of a plan lies: beside it, with the suffix .json."""
    return plan.with_suffix(".json")


def write_record(record: EngineRecord, plan: Path) -> Path:
    """Write the record beside its plan; returns its path."""
    document = {"format": FORMAT, **dataclasses.asdict(record)}
    # Left out where they say nothing: what 0.1.0 wrote has neither.
    for key in ("graph", "target"):
        if document[key] is None:
            del document[key]
    return write_json(record_path(plan), document)


def read_record(plan: Path) -> EngineRecord | None:
    """Return the record beside `plan`, None where there is none.

    Raises UserError where it is damaged, of another format, or not that of this plan: a plan that was cut short, or
    built again by something else, differs in its SHA-256.
    """
    path = record_path(plan)
    if not path.is_file():
        return None
    record = parse_record(read_json(path), path)
    if record.plan_sha256 != sha256(plan):
        raise UserError(
            f"{plan}: not the plan that {path.name} describes (its SHA-256 differs): cut short, or built since; "
            f"copy both again, or remove {path.name} to measure it alone"
        )
    return record


def parse_record(data: Any, path: Path) -> EngineRecord:
    """Return the record of an engine.json's data; raises UserError naming `path` and every wrong field."""
    from pydantic import TypeAdapter

    found = data.get("format") if isinstance(data, dict) else None
    if found != FORMAT:
        raise UserError(f"{path}: expected format {FORMAT}, found {found}: remove it to measure the plan alone")
    record = validate(TypeAdapter(EngineRecord), {key: data[key] for key in data if key != "format"}, path)
    try:
        # Made from structure and plan, which may contradict each other.
        _ = record.metadata
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return record


def require_same_machine(record: EngineRecord, plan: Path, version: str, gpu: Gpu, label: str = TENSORRT.label) -> None:
    """Raise MissingRuntimeError, naming both sides, where a plan is of another version of `label` or of another GPU.

    A plan is tied to both (TensorRT's support matrix, which knows no call to ask whether a plan fits).
    """
    if record.tensorrt != version:
        raise MissingRuntimeError(
            f"{plan}: built by {label} {record.tensorrt}, this machine has {version}: {_REBUILD}, or install that one"
        )
    if record.gpu is None and record.target is not None:
        if record.target != gpu.capability:
            raise MissingRuntimeError(
                f"{plan}: built for compute capability {record.target}, this machine has {gpu}: {_REBUILD}"
            )
        return
    built_for = "no GPU" if record.gpu is None else str(record.gpu)
    if record.gpu is None or (record.gpu.name, record.gpu.capability) != (gpu.name, gpu.capability):
        raise MissingRuntimeError(f"{plan}: built for {built_for}, this machine has {gpu}: {_REBUILD}")
