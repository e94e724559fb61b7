"""Giving several files of a folder their names, all of them even where a kill comes between two of the renames.

What is to be renamed is written down first. Whoever works in the folder next does what is left of it.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from pathlib import Path

from qedeploy.errors import UserError
from qedeploy.folder_lock import publishing

NOTE_FILE = ".qedeploy.renames"

_LARGEST_NOTE = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Renaming:
    """Names in one folder: of a file that is written, the one it gets, and one for what has that name until then."""

    written: str
    name: str
    aside: str | None = None

    def carry_out(self, folder: Path) -> None:
        """Rename, unless that was done before."""
        if not (folder / self.written).exists():
            return
        if self.aside is not None and (folder / self.name).exists():
            (folder / self.name).replace(folder / self.aside)
        (folder / self.written).replace(folder / self.name)


@dataclass(slots=True, kw_only=True)
class NamelessFiles:
    """Files that get their names together: by the name of each where it is until then, and what gives way to it."""

    folder: Path
    outer: NamelessFiles | None = None
    written: dict[Path, Path] = field(default_factory=dict)
    aside: dict[Path, Path] = field(default_factory=dict)

    def of(self, folder: Path) -> NamelessFiles | None:
        """Return the group of the files in `folder`, this one or one around it; None where there is none."""
        if folder == self.folder:
            return self
        return None if self.outer is None else self.outer.of(folder)

    def add(self, path: Path, temporary: Path) -> None:
        """Take a file that is to be called `path`; an earlier one of the block is gone."""
        if (earlier := self.written.get(path)) is not None:
            earlier.unlink(missing_ok=True)
        self.written[path] = temporary


_innermost: ContextVar[NamelessFiles | None] = ContextVar("group", default=None)


def group_of(path: Path) -> NamelessFiles | None:
    """Return the group that is being written and takes in `path`, None where that gets its name at once."""
    group = _innermost.get()
    return None if group is None else group.of(path.parent)


def where_written(path: Path) -> Path:
    """Return where the file of this name is to be read: it may be written, and have no name yet."""
    group = group_of(path)
    return path if group is None else group.written.get(path, path)


@contextmanager
def together(folder: Path) -> Iterator[NamelessFiles]:
    """Give the files that are written into `folder` within the block their names when it ends well, all or none.

    Files anywhere else, also in folders within it, get theirs at once. A kill between two renames leaves a note that
    `carry_on` carries out. Raises UserError where the folder does not take the names.
    """
    innermost = _innermost.get()
    if innermost is not None and (group := innermost.of(folder)) is not None:
        yield group
        return
    group = NamelessFiles(folder=folder, outer=innermost)
    token = _innermost.set(group)
    try:
        yield group
        _publish(group)
    finally:
        _innermost.reset(token)
        for temporary in group.written.values():
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def carry_on(folder: Path) -> None:
    """Rename what a killed process left to be renamed in `folder`; raises UserError where that cannot be."""
    if (folder / NOTE_FILE).exists():
        with publishing(folder), _told(folder):
            _carry_on(folder)


def _publish(group: NamelessFiles) -> None:
    renamings = []
    for path, temporary in group.written.items():
        aside = group.aside.get(path)
        renamings.append(Renaming(written=temporary.name, name=path.name, aside=None if aside is None else aside.name))
    if not renamings:
        return
    with publishing(group.folder), _told(group.folder):
        # What an earlier one left is older than this.
        _carry_on(group.folder)
        _write_note(group.folder, renamings)
        _carry_on(group.folder)


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"{folder}: cannot be written to: {error.strerror or error}; choose another --out") from error


def _write_note(folder: Path, renamings: Sequence[Renaming]) -> None:
    handle, name = tempfile.mkstemp(prefix=NOTE_FILE, suffix=".part", dir=folder)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump([asdict(renaming) for renaming in renamings], stream)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(folder / NOTE_FILE)
    finally:
        Path(name).unlink(missing_ok=True)


def _carry_on(folder: Path) -> None:
    note = folder / NOTE_FILE
    for renaming in _renamings(note):
        renaming.carry_out(folder)
    note.unlink(missing_ok=True)


def _renamings(note: Path) -> list[Renaming]:
    """Return what a note asks for; one that is none of ours, or leads out of its folder, asks for nothing."""
    try:
        with note.open("rb") as stream:
            found = [Renaming(**item) for item in json.loads(stream.read(_LARGEST_NOTE))]
    except (FileNotFoundError, ValueError, TypeError, RecursionError):
        return []
    names = [name for one in found for name in (one.written, one.name, one.aside) if name is not None]
    return found if all(isinstance(name, str) and _is_plain(name) for name in names) else []


def _is_plain(name: str) -> bool:
    return bool(name) and name not in {".", ".."} and "/" not in name and "\0" not in name
