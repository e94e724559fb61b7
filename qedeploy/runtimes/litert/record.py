"""model.tflite.json: what a .tflite file was written from. It stays on this machine; flash has no room for it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qedeploy.errors import UserError
from qedeploy.files import sha256, write_json
from qedeploy.model.image_settings import ImageSettings
from qedeploy.network.graph import Graph, structure_graph
from qedeploy.network.structure import Structure
from qedeploy.qdq.metadata import ModelMetadata
from qedeploy.qdq.plan import LoweringPlan
from qedeploy.runtimes.litert.memory import PlannedMemory
from qedeploy.runtimes.litert.verified import Verification
from qedeploy.schema import read_json, validate

FORMAT = "qedeploy-litert/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class LiteRTRecord:
    """A file's provenance. The network is a `structure` where it is one of our search spaces, else a `graph`.

    `litert` is the version of the package whose schema wrote it and whose kernels verified it.
    """

    litert: str
    sha256: str
    onnx: str
    onnx_sha256: str
    batch: int
    profile: str
    lowering: LoweringPlan
    verification: Verification
    memory: PlannedMemory
    structure: Structure | None = None
    graph: Graph | None = None
    images: ImageSettings | None = None

    @property
    def metadata(self) -> ModelMetadata | None:
        """Return network and plan as an ONNX file carries them, None where the network is not known."""
        graph = structure_graph(self.structure) if self.structure is not None else self.graph
        if graph is None:
            return None
        return ModelMetadata(graph=graph, profile=self.profile, plan=self.lowering, images=self.images)


def record_path(model: Path) -> Path:
    """Return where the record of a file lies: beside it, under its whole name and .json."""
    return model.with_name(f"{model.name}.json")


def write_record(record: LiteRTRecord, model: Path) -> Path:
    """Write the record beside its file; returns its path."""
    document = {"format": FORMAT, **dataclasses.asdict(record)}
    return write_json(record_path(model), {key: value for key, value in document.items() if value is not None})


def read_record(model: Path) -> LiteRTRecord | None:
    """Return the record beside `model`, None where there is none.

    Raises UserError where it is damaged, of another format, or not that of this file.
    """
    path = record_path(model)
    if not path.is_file():
        return None
    record = parse_record(read_json(path), path)
    if record.sha256 != sha256(model):
        raise UserError(
            f"{model}: not the file that {path.name} describes (its SHA-256 differs): cut short, or written since; "
            f"copy both again, or remove {path.name} to measure it alone"
        )
    return record


def parse_record(data: Any, path: Path) -> LiteRTRecord:
    """Return the record of a document's data; raises UserError naming `path` and every wrong field."""
    from pydantic import TypeAdapter

    found = data.get("format") if isinstance(data, dict) else None
    if found != FORMAT:
        raise UserError(f"{path}: expected format {FORMAT}, found {found}: remove it to measure the file alone")
    record = validate(TypeAdapter(LiteRTRecord), {key: data[key] for key in data if key != "format"}, path)
    try:
        # Made from the network and its plan, which may contradict each other.
        _ = record.metadata
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return record
