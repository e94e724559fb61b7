"""A Structure as plain data and back: the form of structure.json, of checkpoints and of ONNX metadata."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qedeploy.files import read_text
from qedeploy.network.lightnas import parse_text
from qedeploy.network.structure import Classifier, Structure, located
from qedeploy.schema import validate

FORMAT = "qedeploy-structure/1"


def to_document(structure: Structure) -> dict[str, Any]:
    """Return `structure` as JSON-ready data."""
    return {"format": FORMAT, **dataclasses.asdict(structure)}


def from_document(data: object, source: Path | str) -> Structure:
    """Return the Structure of `data`; raises UserError naming `source` and every wrong field."""
    from pydantic import TypeAdapter

    if isinstance(data, dict):
        data = {key: value for key, value in data.items() if (key, value) != ("format", FORMAT)}
    return validate(TypeAdapter(Structure), data, source)


def read_structures(path: Path, *, classifier: Classifier = Classifier()) -> Iterator[tuple[str, Structure]]:
    """Yield `(where, structure)` for each structure in a file: structure.json, LightNAS text, or JSON lines of either.

    `where` names the file, with the line for JSON lines. Raises UserError for what is none of these.
    """
    text = read_text(path)
    lines = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    if len(lines) > 1 and all(line.lstrip().startswith("{") and line.rstrip().endswith("}") for _, line in lines):
        for number, line in lines:
            where = f"{path}:{number}"
            yield where, _parse(line, where, classifier)
    else:
        yield str(path), _parse(text, str(path), classifier)


def _parse(text: str, where: str, classifier: Classifier) -> Structure:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        data = None
    if isinstance(data, dict):
        # search.json and every other artefact that carries a structure keeps it under this key.
        inner = data.get("structure", data)
        if isinstance(inner, dict):
            return from_document(inner, where)
    with located(where):
        return parse_text(text, classifier=classifier)
