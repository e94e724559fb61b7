"""Files that a user names: one that ships with qedeploy by its name, one of their own by its path."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable
from pathlib import Path

from qedeploy.errors import UserError

_MOST_HINTS = 4


def names(folder: Path) -> tuple[str, ...]:
    """Return the names of the TOML files in `folder`, sorted."""
    return tuple(sorted(path.stem for path in folder.glob("*.toml")))


def closest(name: str, known: Iterable[str]) -> tuple[str, ...]:
    """Return the names that `name` may stand for, the nearest first: the same but for its spelling, or begun with it.

    >>> closest("T4-INT4", ["t4-int4", "t4-int8"]), closest("t4", ["t4-int4", "t4-int8", "l4-int8"])
    (('t4-int4',), ('t4-int4', 't4-int8'))
    """
    plain = {_plain(item): item for item in known}
    wanted = _plain(name)
    if wanted in plain:
        return (plain[wanted],)
    begun = tuple(item for key, item in plain.items() if wanted and key.startswith(wanted))
    if begun:
        return begun[:_MOST_HINTS]
    return tuple(plain[key] for key in difflib.get_close_matches(wanted, plain, n=1))


def _plain(name: str) -> str:
    stem = name.lower().removesuffix(".toml").removesuffix(".py")
    return "-".join(part for part in re.split(r"[^a-z0-9]+", stem) if part)


def find(name_or_path: str, folder: Path, what: str) -> Path:
    """Return the file that `name_or_path` names: a path if it has a separator or ends in .toml, else one of `folder`.

    Raises UserError that lists the names and the closest one; `what` says what is being looked for ("profile").
    """
    if name_or_path.endswith(".toml") or "/" in name_or_path or os.sep in name_or_path:
        return Path(name_or_path)
    known = names(folder)
    if name_or_path in known:
        return folder / f"{name_or_path}.toml"
    close = closest(name_or_path, known)
    hint = f" (did you mean {' or '.join(close)}?)" if close else ""
    raise UserError(
        f"no {what} is named {name_or_path!r}{hint}: there are {', '.join(known)}; name a file of your own by its path"
    )
