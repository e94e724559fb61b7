"""What a runtime adds to a benchmark's report, in a form that says nothing of the runtime: tables and sentences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a section. `number` aligns its cells as figures.

    `widest` is how many characters of a cell a terminal shows; longer ones are cut in the middle.
    """

    title: str
    number: bool = False
    widest: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A table under a title: each of `rows` has a cell for each column, "" where there is nothing to say.

    `on_terminal` is False where the findings say it already, if in short.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    on_terminal: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeReport:
    """What only the runtime can tell of a run.

    `figures` is all of it as JSON-ready data in the runtime's own form, for bench.json and for programs.
    """

    sections: tuple[Section, ...] = ()
    findings: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    figures: Mapping[str, Any] | None = None
