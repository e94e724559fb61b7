"""The results of a campaign so far, one line per job, from which a stopped run continues."""

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


class RowJournal:
    """A file of rows (JSON-ready) below a first one with `form` and `settings`, whose rows they are.

    `what` and `command` are what a message calls the rows and who writes them, `mend` how to begin anew.
    """

    def __init__(
        self, path: Path, settings: Mapping[str, Any], *, form: str, what: str, command: str, mend: str
    ) -> None:
        self.path = path
        self._settings = dict(settings)
        self._form, self._what, self._command, self._mend = form, what, command, mend

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows so far; a last line that a killed process left unfinished does not count.

        Raises UserError if the file is no journal, or that of another run.
        """
        if not self.path.exists():
            return []
        whole = read_text(self.path).rpartition("\n")[0]
        kept = [self._row(number, line) for number, line in enumerate(whole.splitlines(), start=1)]
        if not kept:
            return []
        if kept[0].get("format") != self._form:
            raise UserError(f"{self.path}: expected {self._what} that `{self._command}` began; move the file away")
        if kept[0]["settings"] != self._settings:
            differing = ", ".join(
                f"{key} {kept[0]['settings'].get(key)} instead of {value}"
                for key, value in self._settings.items()
                if kept[0]["settings"].get(key) != value
            )
            raise UserError(f"{self.path}: {self._what} with {differing}: repeat those settings, or {self._mend}")
        return kept[1:]

    def add(self, row: Mapping[str, Any]) -> None:
        """Add a row; raises UserError if the disk refuses it."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            begun = self._drop_unfinished()
            with self.path.open("a", encoding="utf-8") as stream:
                lines = [row] if begun else [{"format": self._form, "settings": self._settings}, row]
                stream.writelines(json.dumps(line) + "\n" for line in lines)
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written: {error.strerror or error}; free space there") from error

    def remove(self) -> None:
        """Forget what was kept."""
        self.path.unlink(missing_ok=True)

    def incomplete(self, error: Exception) -> UserError:
        """Return the error of rows that lack something."""
        return UserError(f"{self.path}: {self._what} are incomplete: {error}: {self._mend} to start over")

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
            raise UserError(f"{self.path}: line {number} is none of the {self._what}: {self._mend} to start over")
        return row


class Journal(RowJournal):
    """A file of finished measuring jobs. Opened on one that exists, it must be of the same measurement."""

    def __init__(self, path: Path, settings: Mapping[str, Any], mend: str = "add --fresh") -> None:
        super().__init__(path, settings, form=FORMAT, what="measurements", command="qedeploy measure", mend=mend)

    def read(self) -> list[Entry]:
        """Return the jobs finished so far; raises as `rows`."""
        try:
            return [_entry(row) for row in self.rows()]
        except (KeyError, TypeError) as error:
            raise self.incomplete(error) from error

    def append(self, entry: Entry) -> None:
        """Add a finished job; raises UserError if the disk refuses it."""
        self.add({"subjects": [_case_row(case) for case in entry.cases], **dataclasses.asdict(entry.result)})


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
