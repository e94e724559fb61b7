"""`qedeploy run`: search, export and bench in one folder."""

from __future__ import annotations

from typing import Annotated

import typer

from qedeploy.cli import bench, export
from qedeploy.cli.options import (
    BudgetOption,
    DurationOption,
    FolderOption,
    LatencyTableOption,
    ProfileOption,
    QuietOption,
    RecipeOption,
    ThreadsOption,
    VerboseOption,
)


def run(
    context: typer.Context,
    profile: ProfileOption,
    recipe: RecipeOption = None,
    budget: BudgetOption = None,
    latency_table: LatencyTableOption = None,
    calibrate: Annotated[
        str, typer.Option(metavar="DIR|random", help="Images to set activation steps by, or random data.")
    ] = "random",
    threads: ThreadsOption = 1,
    duration: DurationOption = "3s",
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights and random data.")] = 0,
    out: FolderOption = None,
    verbose: VerboseOption = False,
    quiet: QuietOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print bench.json instead of text.")] = False,
) -> None:
    """Search, export and bench in one folder: from a device to a measured network and its report."""
    from qedeploy import api
    from qedeploy.cli.progress import bounds_shown
    from qedeploy.cli.search_tables import print_found, print_search_verdict
    from qedeploy.screen import screen

    silent = quiet or as_json
    _title("search", silent)
    with bounds_shown(screen(stderr=True), quiet=quiet) as progress:
        # A profile that nothing executes is better refused now than after the search.
        found = api.search(
            profile,
            recipe,
            budgets=budget,
            latency_table=latency_table,
            seed=seed,
            folder=out,
            keep=True,
            runnable=True,
            progress=progress,
        )
    if not silent:
        print_found(found, verbose=verbose)
        print_search_verdict(found)
    if found.interrupted or found.model is None:
        raise typer.Exit(130)
    _title("export", silent)
    exported = export.export(context, found.model, calibrate=calibrate, seed=seed, quiet=silent)
    _title("bench", silent)
    bench.bench(
        context, exported, threads=threads, duration=duration, seed=seed, verbose=verbose, quiet=quiet, json=as_json
    )


def _title(step: str, silent: bool) -> None:
    from qedeploy.screen import screen

    screen(quiet=silent).rule(step, align="left")
