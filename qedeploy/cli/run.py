"""`qedeploy run`: search, export and bench in one folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qedeploy.cli import bench, export, search


def run(
    profile: Annotated[str, typer.Option(help="Device: a name that `qedeploy profiles` lists, or a TOML file.")],
    recipe: Annotated[str | None, typer.Option(help="Space and budgets: a name or a TOML file.")] = None,
    budget: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND=LIMIT", help="Limit such as bitops=7.0G or size=2.2MB; repeat for more."),
    ] = None,
    calibrate: Annotated[
        str, typer.Option(metavar="DIR|random", help="Images to set activation steps by, or random data.")
    ] = "random",
    threads: Annotated[int, typer.Option(min=1, max=1024, help="Threads that compute one query.")] = 1,
    duration: Annotated[str, typer.Option(help="Least time to measure each model for.")] = "3s",
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights and random data.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Folder to write to; by default one below runs/.")] = None,
) -> None:
    """Search, export and bench in one folder: from a device to a measured network and its report."""
    from qedeploy.profiles.loader import load_profile

    # A profile that nothing executes is better refused now than after the search.
    load_profile(profile).require_runtime()
    _title("search")
    folder = search.search(profile=profile, recipe=recipe, budget=budget, seed=seed, out=out)
    _title("export")
    exported = export.export(folder / search.MODEL_FILE, calibrate=calibrate, seed=seed)
    _title("bench")
    bench.bench(exported, threads=threads, duration=duration, seed=seed)


def _title(step: str) -> None:
    from rich.console import Console

    Console().rule(step, align="left")
