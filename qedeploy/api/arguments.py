"""What functions that take files and report progress have in common."""

from __future__ import annotations

from pathlib import Path


def as_path(path: Path | str | None) -> Path | None:
    """Return the path of what is named, None of nothing."""
    return None if path is None else Path(path)


def say_nothing(*_progress: object) -> None:
    """Be the progress of whoever wants none."""
