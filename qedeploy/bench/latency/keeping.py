"""Where a measurement keeps its journal and its table."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from qedeploy.bench.latency.jobs import JobSettings
from qedeploy.bench.latency.journal import Journal
from qedeploy.bench.machine import describe_machine
from qedeploy.errors import UserError
from qedeploy.network.document import from_document
from qedeploy.profiles.profile import Profile, Runtime
from qedeploy.search.latency.calibration import calibrate
from qedeploy.search.latency.table import LatencyTable, Source, read_table, write_table
from qedeploy.search.latency.tables import table_path, tables_folder
from qedeploy.search.request import Request

JOURNAL_SUFFIX = ".measurements.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """The journal of a measurement, and the file its table goes to (None: named after the device that ran it)."""

    journal: Journal
    out: Path | None

    @classmethod
    def of(cls, request: Request, settings: JobSettings, *, seed: int, out: Path | None, cluster: str | None) -> Self:
        """Return where the measurement of `request` is kept; raises UserError where `out` is no JSON file."""
        if out is not None and (out.is_dir() or out.suffix.lower() != ".json"):
            raise UserError(f"--out {out}: expected a file that ends in .json")
        if out is not None and out.exists():
            # Whatever else it is, nobody wants it overwritten in ten minutes.
            read_table(out)
        machine = cluster or describe_machine().cpu
        conditions: dict[str, Any] = {
            "profile": request.profile_sha256,
            "recipe": request.recipe.name,
            "resolution": request.recipe.resolution,
            "runtime": runtime_version(request.profile.runtime),
            "machine": machine,
            **dataclasses.asdict(settings),
            "seed": seed,
        }
        if out is not None:
            path = out.with_suffix(JOURNAL_SUFFIX)
        else:
            name = table_path(request.profile.name, machine, request.recipe.name, "", settings.threads).stem
            path = tables_folder() / f"{name}{JOURNAL_SUFFIX}"
        return cls(journal=Journal(path, conditions), out=out)

    def keep(self, table: LatencyTable, profile: Profile, *, fresh: bool) -> Path:
        """Write `table` and return its file; unless `fresh`, what `bench` added to the one before stays in it."""
        path = self.out or table_path(
            table.profile,
            table.device,
            str(table.runtime.get("name", "")),
            str(table.runtime.get("version", "")),
            int(table.settings.get("threads", 1)),
        )
        if path.exists() and not fresh:
            table = calibrate(_with_lessons(table, read_table(path)), profile)
        return write_table(path, table)


def _with_lessons(table: LatencyTable, before: LatencyTable) -> LatencyTable:
    """Return `table` with the points of runs that `before` has, and with its networks, where it has not its own."""
    measured = {point.shape for point in table.points}
    known = {from_document(network.structure, "latency table") for network in table.networks}
    return dataclasses.replace(
        table,
        points=(*table.points, *(p for p in before.points if p.source is Source.BENCH and p.shape not in measured)),
        networks=(
            *table.networks,
            *(n for n in before.networks if from_document(n.structure, "latency table") not in known),
        ),
    )


def runtime_version(runtime: Runtime) -> str | None:
    """Return the version of a runtime that is installed here, None where it is not."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("onnxruntime" if runtime is Runtime.ONNXRUNTIME else "tensorrt")
    except PackageNotFoundError:
        return None
