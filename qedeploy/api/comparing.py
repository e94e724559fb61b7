"""Set finished runs beside each other."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qedeploy.campaign.comparison.comparing import RunComparison


def compare(runs: Iterable[Path | str], *, folder: Path | str | None = None) -> tuple[RunComparison, tuple[Path, ...]]:
    """Return the runs of these folders in groups that may be compared, with the Pareto front of each.

    What a run lacks is named, with the command that gives it. `folder` gets compare.json, compare.svg and compare.html,
    which are returned as well. Raises UserError where there is no run.
    """
    from qedeploy.campaign.comparison.comparing import compared
    from qedeploy.campaign.comparison.reading import read_runs
    from qedeploy.campaign.comparison.report import JSON_FILE, write_comparison
    from qedeploy.files import writing

    if folder is None:
        return compared(read_runs(map(Path, runs))), ()
    with writing(Path(folder) / JSON_FILE):
        comparison = compared(read_runs(map(Path, runs)))
        return comparison, write_comparison(Path(folder), comparison)
