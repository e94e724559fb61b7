"""A Graph as plain data and back, for networks that are no Structure: the form of ONNX metadata and engine records."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qedeploy.network.graph import Graph
from qedeploy.schema import validate

FORMAT = "qedeploy-graph/1"


def to_document(graph: Graph) -> dict[str, Any]:
    """Return `graph` as JSON-ready data, fields at their default left out."""
    return {"format": FORMAT, "input": graph.input, "operations": [_plain(step) for step in graph.operations]}


def from_document(data: object, source: Path | str) -> Graph:
    """Return the Graph of `data`; raises UserError naming `source` and every wrong field."""
    from pydantic import TypeAdapter

    if isinstance(data, dict):
        data = {key: value for key, value in data.items() if (key, value) != ("format", FORMAT)}
    return validate(TypeAdapter(Graph), data, source)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if not dataclasses.is_dataclass(value):
        return value
    return {
        field.name: _plain(getattr(value, field.name))
        for field in dataclasses.fields(value)
        if getattr(value, field.name) != field.default
    }
