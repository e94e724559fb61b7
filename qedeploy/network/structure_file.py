"""A Structure as plain data and back: the form of structure.json, of checkpoints and of ONNX metadata."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qedeploy.errors import UserError
from qedeploy.files import read_text
from qedeploy.network.lightnas import from_value, parse_text
from qedeploy.network.structure import Activation, Classifier, Structure, located
from qedeploy.schema import validate

FORMAT = "qedeploy-structure/1"

_OMITTED = (("activation", Activation.RELU), ("linear_bottlenecks", False))
"""Left out of documents: nearly every structure has these, and older ones do not name them."""


def to_document(structure: Structure) -> dict[str, Any]:
    """Return `structure` as JSON-ready data."""
    data = dataclasses.asdict(structure)
    return {"format": FORMAT, **{key: value for key, value in data.items() if (key, value) not in _OMITTED}}


def from_document(data: object, source: Path | str) -> Structure:
    """Return the Structure of `data`; raises UserError naming `source` and every wrong field."""
    from pydantic import TypeAdapter

    if isinstance(data, dict):
        data = {key: value for key, value in data.items() if (key, value) != ("format", FORMAT)}
    return validate(TypeAdapter(Structure), data, source)


def read_structures(path: Path, *, classifier: Classifier = Classifier()) -> Iterator[tuple[str, Structure]]:
    """Yield `(where, structure)` for each structure in a file; see `parse_structures`.

    Raises UserError where the file cannot be read or holds something else.
    """
    yield from parse_structures(read_text(path), str(path), classifier=classifier)


def read_structure(path: Path) -> Structure:
    """Return the structure in a file; raises UserError where it cannot be read or holds another number of them."""
    found = [structure for _, structure in read_structures(path)]
    if len(found) != 1:
        raise UserError(f"{path}: expected one structure, found {len(found)}; put the one that is meant in a file")
    return found[0]


def parse_structures(
    text: str, source: str, *, classifier: Classifier = Classifier()
) -> Iterator[tuple[str, Structure]]:
    """Yield `(where, structure)` for each structure in `text`: structure.json, LightNAS text, or several of either.

    Several are one a line (JSON lines) or a JSON list; `where` is `source` with the line or the place in the list.
    Raises UserError naming where, for what is none of these.
    """
    if not text.strip():
        raise UserError(f"{source}: empty: expected a structure as JSON or as LightNAS text")
    lines = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    if len(lines) > 1 and any(_stands_alone(line) for _, line in lines[:2]):
        for number, line in lines:
            where = f"{source}:{number}"
            yield where, _structure(_json(line), line, where, classifier)
        return
    value = _json(text)
    if isinstance(value, list) and value and all(isinstance(item, dict) and "class" not in item for item in value):
        for index, item in enumerate(value):
            where = f"{source}[{index}]"
            yield where, _structure(item, "", where, classifier)
        return
    yield source, _structure(value, text, source, classifier)


def _stands_alone(line: str) -> bool:
    """Whether a line is a whole structure, as in JSON lines; pretty-printed JSON has none among its first two."""
    line = line.strip()
    return line.startswith("{") and line.endswith("}") and ("stage" in line or "class" in line)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _structure(value: Any, text: str, where: str, classifier: Classifier) -> Structure:
    if isinstance(value, dict):
        # search.json and every other artefact that carries a structure keeps it under this key.
        value = value.get("structure", value)
        if isinstance(value, dict) and not value.keys() & {"best_structures", "structures"}:
            return from_document(value, where)
    with located(where):
        if value is None:
            return parse_text(text, classifier=classifier)
        return from_value(value, classifier=classifier)
