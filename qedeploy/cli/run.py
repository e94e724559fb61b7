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
    RecipeOption,
    ThreadsOption,
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
) -> None:
    """Search, export and bench in one folder: from a device to a measured network and its report."""
    from qedeploy import api
    from qedeploy.cli.progress import bounds_shown
    from qedeploy.cli.search_tables import print_found
    from qedeploy.screen import screen

    _title("search")
    with bounds_shown(screen(stderr=True), quiet=False) as progress:
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
    print_found(found)
    if found.interrupted or found.model is None:
        raise typer.Exit(130)
    _title("export")
    exported = export.export(context, found.model, calibrate=calibrate, seed=seed)
    _title("bench")
    bench.bench(context, exported, threads=threads, duration=duration, seed=seed)


def _title(step: str) -> None:
    from qedeploy.screen import screen

    screen().rule(step, align="left")
