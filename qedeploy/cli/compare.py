"""`qedeploy compare`: accuracy against latency of finished runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from qedeploy.cli.options import JsonOption, QuietOption


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUNS...", help="Folders of runs, or one that holds them.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder to write to; by default the one that all runs lie in.")
    ] = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Set finished runs beside each other: accuracy against latency, with the Pareto front.

    Reads bench.json, accuracy.json, search.json and train.json, and writes compare.json, compare.svg and compare.html.
    Runs on other devices or images are never mixed. What a run lacks is named, with the command that gives it.
    """
    from qedeploy import api
    from qedeploy.campaign.comparison.report import document
    from qedeploy.cli.compare_tables import print_comparison
    from qedeploy.files import json_text

    # Files among the names, such as those of an earlier comparison, say nothing of where the runs lie.
    folders = [path.absolute() for path in runs if path.is_dir()]
    if out is None and folders:
        out = folders[0] if len(folders) == 1 else Path(os.path.commonpath(folders))
    comparison, written = api.compare(runs, folder=out)
    if as_json:
        typer.echo(json_text(document(comparison)), nl=False)
    elif not quiet:
        print_comparison(comparison, written)
