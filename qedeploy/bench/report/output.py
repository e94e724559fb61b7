"""Where a benchmark's files go, and writing them: bench.json and report.html, each whole or not at all."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from qedeploy.bench.report.document import BenchResult, to_text
from qedeploy.bench.report.report import render
from qedeploy.errors import UserError
from qedeploy.files import real_path, write_text
from qedeploy.publishing import together
from qedeploy.rulings import enforce

DOCUMENT, REPORT = "bench.json", "report.html"

_ROOMS = {"search", "export", "profiles"}
"""Folders at a repository's root that stand for parts of qedeploy: nothing is written there unasked."""

_PACKAGE = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenFiles:
    """What a benchmark left behind; `kept` are the files of an earlier one, under their new names."""

    document: Path
    report: Path
    kept: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A benchmark that is done, and its files, None where none were asked for."""

    result: BenchResult
    written: WrittenFiles | None = None

    def enforce(self) -> None:
        """Raise RequestError where a gate failed, or its verdict or a table's update was withheld."""
        enforce(self.result.judged)


def output_folder(model: Path, out: Path | None) -> Path:
    """Return the folder for the results of `model`: `out`, or else the model's own.

    Raises UserError where that is a folder of qedeploy's own code (or, unasked, one that is named like it), is no
    folder, or cannot be written to. It is called before anything is measured.
    """
    folder = model.parent if out is None else out
    unasked = out is None and _ROOMS & {folder.absolute().name, real_path(folder).name}
    if unasked or real_path(folder).is_relative_to(_PACKAGE):
        raise UserError(f"{folder}: stands for part of qedeploy's code: name another folder for results with --out")
    existing = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    if not existing.is_dir():
        raise UserError(f"{folder}: expected a folder to write to, found a file: choose another --out")
    if not os.access(existing, os.W_OK):
        raise UserError(f"{folder}: cannot be written to (no permission): mend it, or choose another --out")
    return folder


def write_results(result: BenchResult, folder: Path) -> WrittenFiles:
    """Write both files into `folder`, together; raises UserError where it cannot be written to.

    Results that lie there are kept under the date of their measurement.
    """
    document, report = folder / DOCUMENT, folder / REPORT
    with together(folder) as files:
        write_text(document, to_text(result))
        write_text(report, render(result))
        files.aside |= _set_aside(document, report)
        kept = tuple(files.aside.values())
    return WrittenFiles(document=document, report=report, kept=kept)


def _set_aside(document: Path, report: Path) -> dict[Path, Path]:
    """Return names with their date for earlier results, such as report-20261125-192857.html."""
    earlier = [path for path in (document, report) if path.is_file()]
    if not earlier:
        return {}
    moment = min(path.stat().st_mtime for path in earlier)
    date = datetime.fromtimestamp(moment, UTC).strftime("%Y%m%d-%H%M%S")
    for count in itertools.count(1):
        mark = date if count == 1 else f"{date}-{count}"
        names = {path: path.with_name(f"{path.stem}-{mark}{path.suffix}") for path in earlier}
        if not any(name.exists() for name in names.values()):
            break
    return names
