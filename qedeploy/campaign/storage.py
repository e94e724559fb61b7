"""Where a measurement keeps its journal and its table."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from qedeploy.bench.measure.machine import describe_machine
from qedeploy.campaign.jobs import JobSettings
from qedeploy.campaign.journal import Journal
from qedeploy.errors import UserError
from qedeploy.folder_lock import in_turn
from qedeploy.latency.fit import fit_calibration
from qedeploy.latency.store import journal_name, kept_tables, table_path, tables_folder
from qedeploy.latency.table import LatencyTable, read_table, write_table
from qedeploy.network.structure_file import from_document
from qedeploy.profiles.profile import Profile
from qedeploy.runtimes.registry import find_runtime
from qedeploy.search.request import Request

JOURNAL_SUFFIX = ".measurements.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """The journal of a measurement, and the file its table goes to (None: named after the device that ran it)."""

    journal: Journal
    out: Path | None

    @classmethod
    def of(
        cls,
        request: Request,
        settings: JobSettings,
        *,
        seed: int,
        out: Path | None,
        cluster: str | None,
        fresh: bool = False,
    ) -> Self:
        """Return where the measurement of `request` is kept.

        Raises UserError where `out` is no JSON file, or another file than a table; unless `fresh`, also for a table of
        another profile, device, version or number of threads, and for a broken one among the user's data.
        """
        runtime = find_runtime(request.profile.runtime)
        machine, version = describe_machine().cpu, runtime.version()
        if out is not None and (out.is_dir() or out.suffix.lower() != ".json"):
            raise UserError(f"--out {out}: expected a file that ends in .json")
        if out is not None and out.exists():
            asked = {"profile": request.profile.name, "version": version, "threads": settings.threads}
            here = cluster is None and runtime.on_cpu
            # Whatever file it is, nobody wants it overwritten ten minutes later.
            _require_alike(out, asked | ({"device": machine} if here else {}), fresh=fresh)
        if out is None and not fresh:
            # The measurement will be added to one of them, so a broken one is reported before and not after.
            kept_tables(request.profile.name)
        machine, recipe = cluster or machine, _name(request)
        conditions: dict[str, Any] = {
            "profile": request.profile_sha256,
            "recipe": request.recipe.name,
            **_changes(request),
            "runtime": version,
            "machine": machine,
            **dataclasses.asdict(settings),
            "seed": seed,
        }
        if out is not None:
            path = out.with_suffix(f".{recipe}{JOURNAL_SUFFIX}")
        else:
            name = journal_name(request.profile.name, machine, recipe, settings.threads)
            path = tables_folder() / f"{name}{JOURNAL_SUFFIX}"
        return cls(journal=Journal(path, conditions), out=out)

    def keep(self, table: LatencyTable, profile: Profile, *, fresh: bool) -> tuple[LatencyTable, Path]:
        """Write `table`; returns what its file has now, and the file.

        Unless `fresh`, the file's other points stay, because it serves many recipes.
        """
        kind = _kind(table)
        path = self.out or table_path(
            table.profile,
            table.device,
            str(table.runtime.get("name", "")),
            str(kind["version"] or ""),
            int(kind["threads"] or 1),
        )
        # Measurements of other recipes add to the same table.
        with in_turn(path):
            if path.exists() and not fresh and (before := read_table(path)).device == table.device:
                table = fit_calibration(_beside(table, before), profile)
            return table, write_table(path, table)


def _kind(table: LatencyTable) -> dict[str, Any]:
    """Return the settings that tables must share for their times to be comparable."""
    return {
        "profile": table.profile,
        "version": table.runtime.get("version"),
        "threads": table.settings.get("threads"),
        "device": table.device,
    }


def _require_alike(path: Path, asked: Mapping[str, Any], *, fresh: bool) -> None:
    """Raise UserError where `path` is no table, or, unless `fresh`, one of another kind than `asked` for."""
    kind = _kind(read_table(path))
    differing = ", ".join(f"{key} {kind[key]} instead of {value}" for key, value in asked.items() if kind[key] != value)
    if differing and not fresh:
        raise UserError(
            f"--out {path}: a latency table with {differing}: repeat those settings, name another file, or add --fresh"
        )


def _name(request: Request) -> str:
    """Return what the journal of a recipe is called: one for each size and number of classes, whose networks differ."""
    return "-".join((request.recipe.name, *(f"{what}-{value}" for what, value in _changes(request).items())))


def _changes(request: Request) -> dict[str, int]:
    """Return what of the recipe the request has otherwise."""
    asked, named = request.recipe, request.named_recipe
    both = {"resolution": (asked.resolution, named.resolution), "classes": (asked.classes, named.classes)}
    return {what: value for what, (value, usual) in both.items() if value != usual}


def _beside(table: LatencyTable, before: LatencyTable) -> LatencyTable:
    """Return `table` with the points and networks of `before` that it lacks, converted to its own pace."""
    pace = 1.0
    if table.reference_seconds is not None and before.reference_seconds is not None:
        pace = table.reference_seconds / before.reference_seconds
    shapes = {point.shape for point in table.points}
    points = [point for point in before.points if point.shape not in shapes]
    structures = {from_document(network.structure, "latency table") for network in table.networks}
    networks = [one for one in before.networks if from_document(one.structure, "latency table") not in structures]
    return dataclasses.replace(
        table,
        points=(*table.points, *(dataclasses.replace(one, seconds=one.seconds * pace) for one in points)),
        networks=(*table.networks, *(dataclasses.replace(one, seconds=one.seconds * pace) for one in networks)),
        recipes=(*(name for name in before.recipes if name not in table.recipes), *table.recipes),
    )
