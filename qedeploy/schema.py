"""The border where files become values: pydantic checks, and all errors of a file come back at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from qedeploy.errors import UserError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")


def validate(adapter: TypeAdapter[T], data: object, source: Path | str) -> T:
    """Return `data` as the adapter's type; raises UserError naming `source` and every field that is wrong."""
    from pydantic import ValidationError

    try:
        return adapter.validate_python(data)
    except ValidationError as error:
        found = "; ".join(_describe(item) for item in error.errors(include_url=False))
        raise UserError(f"{source}: {found}") from error


def read_toml(path: Path) -> dict[str, Any]:
    """Return the tables of a TOML file; raises UserError with the line where it is not TOML."""
    import tomllib

    from qedeploy.files import read_text

    try:
        return tomllib.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid TOML: {_reason(error)}") from error


def read_json(path: Path) -> Any:
    """Return the value of a JSON file; raises UserError with the line where it is not JSON."""
    import json

    from qedeploy.files import read_text

    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid JSON: {_reason(error)}") from error


def _reason(error: ValueError | RecursionError) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    # Python's own words of long numbers go on with how to lift its limit.
    return str(error).partition(";")[0]


def _describe(item: Any) -> str:
    where = ""
    for part in item["loc"]:
        where += f"[{part}]" if isinstance(part, int) else f".{part}" if where else str(part)
    message = {
        "extra_forbidden": "unknown key",
        "unexpected_keyword_argument": "unknown key",
        "missing": "expected this key, found none",
    }.get(item["type"], item["msg"].removeprefix("Value error, "))
    return f"{where}: {message}" if where else message
