"""LightNAS's search configurations, Python files such as Mixed_7d0G.py: their values are read, nothing is run.

Understood is what such files are made of: assignments of literals, of names assigned before, and of `dict(key=value)`.
Whatever else a file holds is passed over, and its names have no value.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Mapping
from typing import Any

_STRUCTURE = "structure_info"
_DEEPEST = 50


class _UnknownError(Exception):
    """An expression that is no plain value."""


def config_values(text: str) -> dict[str, Any]:
    r"""Return the values that a configuration assigns at its top level, empty where it is no Python file of that kind.

    >>> config_values("bits = 4\nmodel = dict(widths=[bits, bits])")
    {'bits': 4, 'model': {'widths': [4, 4]}}
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = ast.parse(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return {}
    values: dict[str, Any] = {}
    for statement in module.body:
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target = statement.targets[0]
            if isinstance(target, ast.Name):
                values.pop(target.id, None)
                try:
                    values[target.id] = _value(statement.value, values, 0)
                except _UnknownError:
                    continue
    return values


def config_structure(values: Mapping[str, Any]) -> tuple[object, int | None] | None:
    """Return the list of blocks that a configuration starts its search from, with its input in pixels.

    None where the values are not of a configuration, or have no such list.
    """
    model, size = values.get("model"), values.get("image_size")
    blocks = model.get(_STRUCTURE) if isinstance(model, Mapping) else None
    if blocks is None:
        return None
    return blocks, size if isinstance(size, int) else None


def _value(node: ast.expr, known: Mapping[str, Any], depth: int) -> Any:
    if depth > _DEEPEST:
        raise _UnknownError
    match node:
        case ast.Constant():
            return node.value
        case ast.Name() if node.id in known:
            return known[node.id]
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return -number
        case ast.List() | ast.Tuple():
            return [_value(item, known, depth + 1) for item in node.elts]
        case ast.Dict():
            pairs = zip(node.keys, node.values, strict=True)
            return {_key(key, known, depth): _value(value, known, depth + 1) for key, value in pairs}
        case ast.Call(func=ast.Name(id="dict"), args=[], keywords=keywords):
            return {_argument(item): _value(item.value, known, depth + 1) for item in keywords}
    raise _UnknownError


def _key(node: ast.expr | None, known: Mapping[str, Any], depth: int) -> str:
    key = None if node is None else _value(node, known, depth + 1)
    if not isinstance(key, str):
        raise _UnknownError
    return key


def _argument(item: ast.keyword) -> str:
    if item.arg is None:
        raise _UnknownError
    return item.arg
