"""What a user may set that is one runtime's own, as data: the command line makes options of it, Python a mapping."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from qedeploy.errors import UserError

Settings = Mapping[str, Any]
"""Values by the options' names. Names of other runtimes may be among them: one run can hold several runtimes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A setting, `cuda_graph` in Python and `--cuda-graph` on the command line.

    Runtimes that call theirs alike mean the same. `kind` is the type of its values: bool, int, or str for all others.
    """

    name: str
    default: bool | int | str | None
    help: str
    kind: type[bool] | type[int] | type[str] = str
    metavar: str | None = None


def chosen(options: Iterable[Option], settings: Settings) -> dict[str, Any]:
    """Return the value of each option, its default where `settings` have none.

    Raises UserError for a value of another type than the option's.
    """
    found = {}
    for option in options:
        value = settings.get(option.name, option.default)
        if value is not None and type(value) is not option.kind:
            raise UserError(f"{option.name}: expected {_KINDS[option.kind]}, found {value!r}")
        found[option.name] = value
    return found


def require_known(options: Iterable[Option], settings: Settings) -> None:
    """Raise UserError where `settings` have a name that is none of `options`."""
    known = sorted({option.name for option in options})
    for name in settings:
        if name not in known:
            raise UserError(f"{name}: no runtime has this setting, expected one of {', '.join(known) or 'none'}")


_KINDS = {bool: "true or false", int: "a whole number", str: "text"}
