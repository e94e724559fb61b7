"""Files that a user names: one that ships with qedeploy by its name, one of their own by its path."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from qedeploy.errors import UserError


def names(folder: Path) -> tuple[str, ...]:
    """Return the names of the TOML files in `folder`, sorted."""
    return tuple(sorted(path.stem for path in folder.glob("*.toml")))


def find(name_or_path: str, folder: Path, what: str) -> Path:
    """Return the file that `name_or_path` names: a path if it has a separator or ends in .toml, else one of `folder`.

    Raises UserError that lists the names and the closest one; `what` says what is being looked for ("profile").
    """
    if name_or_path.endswith(".toml") or "/" in name_or_path or os.sep in name_or_path:
        return Path(name_or_path)
    known = names(folder)
    if name_or_path in known:
        return folder / f"{name_or_path}.toml"
    close = difflib.get_close_matches(name_or_path, known, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    raise UserError(
        f"no {what} is named {name_or_path!r}{hint}: there are {', '.join(known)}; a file of your own goes by its path"
    )
