"""A Structure as plain data and back: the form of structure.json, of checkpoints and of ONNX metadata."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from qedeploy.errors import UserError
from qedeploy.files import read_text
from qedeploy.network.lightnas import MAX_TEXT, from_value, literal, parse_text
from qedeploy.network.lightnas_config import config_structure, config_values
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

    Several are one a line or a list; `where` is `source` with the line or the place in the list. Of one of LightNAS's
    search configurations (Python, not run) it is the structure that the search starts from.
    Raises UserError naming where, for what is none of these.
    """
    if not text.strip():
        raise UserError(f"{source}: empty: expected a structure as JSON or as LightNAS text")
    value = _whole(text)
    if value is None:
        lines = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
        if len(lines) > 1 and any(_whole(line) is not None for _, line in lines[:2]):
            for number, line in lines:
                yield f"{source}:{number}", _structure(_whole(line), line, f"{source}:{number}", classifier)
            return
        if (start := config_structure(config_values(text) if len(text) <= MAX_TEXT else {})) is not None:
            blocks, resolution = start
            with located(f"{source}: model.structure_info"):
                yield source, from_value(blocks, classifier=classifier, resolution=resolution or 224)
            return
    elif isinstance(value, list) and value and all(map(_is_structure, value)):
        for index, item in enumerate(value):
            yield f"{source}[{index}]", _structure(item, "", f"{source}[{index}]", classifier)
        return
    yield source, _structure(value, text, source, classifier)


def _whole(text: str) -> dict[str, Any] | list[Any] | None:
    """Return the dictionary or list that a text is, in JSON or in Python's notation, None where it is neither.

    How its lines are broken says nothing: a Python literal may take several, and several structures one each.
    """
    text = text.strip()
    # The end is cheaper to look at than the whole: most of JSON lines are no literal together.
    if not text.endswith(("}", "]")):
        return None
    value = None
    with suppress(ValueError, RecursionError):
        value = json.loads(text)
    if value is None and len(text) <= MAX_TEXT:
        with suppress(ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            value = literal(text)
    return value if isinstance(value, dict | list) else None


def _is_structure(item: object) -> bool:
    """Whether an item of a list is a structure itself and not a block of one."""
    if isinstance(item, dict):
        return "class" not in item
    return isinstance(item, list) and bool(item) and all(isinstance(part, dict) and "class" in part for part in item)


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
