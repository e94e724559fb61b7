"""How lists and counts read in sentences."""

from __future__ import annotations

from collections.abc import Iterable


def listed(items: Iterable[object], most: int = 3, separator: str = ", ") -> str:
    """Return items in a row, `most` of them at the most and then how many more: `a, b, c and 4 more`."""
    names = [str(item) for item in items]
    shown = separator.join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def counted(count: int, noun: str) -> str:
    """Return `1 layer`, `3 layers`: for nouns that take an s."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
