"""Where latency tables are kept, and which one is used for a profile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qedeploy.errors import UserError
from qedeploy.files import slug
from qedeploy.latency.predictor import LatencyModel
from qedeploy.latency.table import LatencyTable, from_document, read_table
from qedeploy.profiles.profile import Profile
from qedeploy.words import counted


def tables_folder() -> Path:
    """Return the folder in the user's data where `qedeploy measure` keeps tables."""
    from platformdirs import user_data_path

    return user_data_path("qedeploy") / "latency"


def table_path(profile_name: str, device: str, runtime: str, version: str, threads: int) -> Path:
    """Return where the table of a profile is kept: one for each device, version of the runtime and thread count."""
    words = (profile_name, device, f"{runtime} {version}", counted(threads, "thread"))
    return tables_folder() / ("--".join(map(slug, words)) + ".json")


def journal_name(profile_name: str, device: str, recipe: str, threads: int) -> str:
    """Return the name of the journal of a measurement that is to be kept, without its suffix."""
    return "--".join(map(slug, (profile_name, device, recipe, counted(threads, "thread"))))


def kept_tables(profile_name: str) -> list[Path]:
    """Return the tables kept for a profile, the one measured last first."""
    found = tables_folder().glob(f"{slug(profile_name)}--*.json")
    return sorted(found, key=lambda path: (read_table(path).date, path.name), reverse=True)


def describe_kept(profile_name: str) -> list[dict[str, Any]]:
    """Return the tables kept for a profile as JSON-ready data, the latest first; broken ones with their error.

    Each has its file; device, date, points, networks and error, or the reason why it cannot be read.
    """
    found: list[dict[str, Any]] = []
    for path in tables_folder().glob(f"{slug(profile_name)}--*.json"):
        try:
            table = read_table(path)
        except UserError as error:
            found.append({"file": str(path), "date": "", "fault": str(error)})
            continue
        calibration = table.calibration
        found.append(
            {
                "file": str(path),
                "device": table.device,
                "date": table.date,
                "recipes": list(table.recipes),
                "points": len(table.points),
                "networks": calibration.networks,
                "error": calibration.error,
            }
        )
    return sorted(found, key=lambda item: (item["date"], item["file"]), reverse=True)


def load_table(profile: Profile, file: Path | None) -> tuple[LatencyTable, Path] | None:
    """Return the table in `file`, or for None the last one measured for `profile`, and its path; None for none.

    A `.csv` file, and a JSON file that is no table of ours, is read as times imported from elsewhere. Raises UserError
    for a file that cannot be read, or was measured for another profile.
    """
    path = file or next(iter(kept_tables(profile.name)), None)
    if path is None:
        return None
    table = _read(path, profile)
    if table.profile != profile.name:
        raise UserError(
            f"{path}: a latency table of profile {table.profile}: expected one of {profile.name}; measure it with "
            f"`qedeploy measure --profile {profile.name}`"
        )
    return table, path


def load_model(profile: Profile, file: Path | None) -> tuple[LatencyModel, Path] | None:
    """Return the model of the table that `load_table` finds, and the table's path; None where there is none."""
    found = load_table(profile, file)
    return None if found is None else (LatencyModel(found[0], profile), found[1])


def _read(path: Path, profile: Profile) -> LatencyTable:
    from qedeploy.schema import read_json

    if path.suffix.lower() != ".csv":
        data = read_json(path)
        if isinstance(data, dict) and "format" in data:
            return from_document(data, path)
    from qedeploy.latency.csv_import import read_imported

    return read_imported(path, profile)
