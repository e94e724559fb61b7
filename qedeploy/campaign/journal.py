"""The results of a measurement so far, one line per job, from which a stopped run continues."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qedeploy.campaign.jobs import JobResult, MeasuredCase
from qedeploy.errors import UserError
from qedeploy.export.benchmark_cases import BenchmarkCase
from qedeploy.files import read_text
from qedeploy.network.structure_file import from_document, to_document

FORMAT = "qedeploy-measurements/1"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A finished job: its cases and what they took."""

    cases: tuple[BenchmarkCase, ...]
    result: JobResult


class Journal:
    """A file of finished jobs. Opened on one that exists, it must be of the same measurement."""

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path
        self._settings = dict(settings)

    def read(self) -> list[Entry]:
        """Return the jobs finished so far; a last line that a killed process left unfinished does not count.

        Raises UserError if the file is no journal, or that of another measurement.
        """
        if not self.path.exists():
            return []
        whole = read_text(self.path).rpartition("\n")[0]
        kept = [self._row(number, line) for number, line in enumerate(whole.splitlines(), start=1)]
        if not kept:
            return []
        if kept[0].get("format") != FORMAT:
            raise UserError(f"{self.path}: expected measurements that `qedeploy measure` began; move the file away")
        if kept[0]["settings"] != self._settings:
            differing = ", ".join(
                f"{key} {kept[0]['settings'].get(key)} instead of {value}"
                for key, value in self._settings.items()
                if kept[0]["settings"].get(key) != value
            )
            raise UserError(f"{self.path}: measurements with {differing}: repeat those settings, or add --fresh")
        try:
            return [_entry(row) for row in kept[1:]]
        except (KeyError, TypeError) as error:
            raise UserError(f"{self.path}: measurements are incomplete: {error}: start over with --fresh") from error

    def append(self, entry: Entry) -> None:
        """Add a finished job; raises UserError if the disk refuses it."""
        row = {"subjects": [_case_row(case) for case in entry.cases], **dataclasses.asdict(entry.result)}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            begun = self._drop_unfinished()
            with self.path.open("a", encoding="utf-8") as stream:
                lines = [row] if begun else [{"format": FORMAT, "settings": self._settings}, row]
                stream.writelines(json.dumps(line) + "\n" for line in lines)
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written: {error.strerror or error}; free space there") from error

    def remove(self) -> None:
        """Forget what was measured."""
        self.path.unlink(missing_ok=True)

    def _drop_unfinished(self) -> bool:
        """Cut off an unfinished line; returns whether any line is left."""
        if not self.path.exists():
            return False
        content = self.path.read_bytes()
        end = content.rfind(b"\n") + 1
        if end < len(content):
            self.path.write_bytes(content[:end])
        return end > 0

    def _row(self, number: int, line: str) -> dict[str, Any]:
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise UserError(f"{self.path}: line {number} is no measurement: start over with --fresh")
        return row


def _case_row(case: BenchmarkCase) -> dict[str, Any]:
    return {"structure": to_document(case.structure), "blocks": case.blocks}


def _entry(row: Mapping[str, Any]) -> Entry:
    cases = tuple(
        BenchmarkCase(
            structure=from_document(item["structure"], "measurements"),
            blocks=None if item["blocks"] is None else tuple(item["blocks"]),
        )
        for item in row["subjects"]
    )
    measured = tuple(
        MeasuredCase(key=item["key"], ratios=tuple(item["ratios"]), parts=item["parts"]) for item in row["measured"]
    )
    result = JobResult(
        measured=measured,
        failures=row["failures"],
        reference_seconds=float(row["reference_seconds"]),
        machine=row["machine"],
        runtime=row["runtime"],
    )
    return Entry(cases=cases, result=result)
