"""Where latency tables are kept, and which one a profile takes."""

from __future__ import annotations

from pathlib import Path

from qedeploy.errors import UserError
from qedeploy.profiles.profile import Profile
from qedeploy.search.latency.model import LatencyModel
from qedeploy.search.latency.table import LatencyTable, read_table


def table_path(profile_name: str) -> Path:
    """Return where `qedeploy measure` keeps the table of a profile, in the user's data folder."""
    from platformdirs import user_data_path

    return user_data_path("qedeploy") / "latency" / f"{profile_name}.json"


def load_table(profile: Profile, file: Path | None) -> tuple[LatencyTable, Path] | None:
    """Return the table in `file`, or for None the one kept for `profile`, and its path; None where there is none.

    A `.csv` file, and a JSON file that is no table of ours, is read as times imported from elsewhere. Raises UserError
    for a file that cannot be read, or was measured for another profile.
    """
    path = file or table_path(profile.name)
    if file is None and not path.exists():
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
            return read_table(path)
    from qedeploy.search.latency.importing import read_imported

    return read_imported(path, profile)
