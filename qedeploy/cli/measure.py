"""`qedeploy measure`: time the layers of a search space on this machine, for `search --budget latency=...`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from qedeploy.cli.options import ClusterOption, ProfileOption, QuietOption, RecipeOption, ThreadsOption


def measure(
    profile: ProfileOption,
    recipe: RecipeOption = None,
    minutes: Annotated[
        float, typer.Option(min=0.05, max=10_000, help="How long to measure; a table takes half a minute at the least.")
    ] = 10.0,
    resolution: Annotated[int | None, typer.Option(min=8, help="Input size in pixels (default: the recipe's).")] = None,
    classes: Annotated[int | None, typer.Option(min=2, help="Classes of the networks (default: the recipe's).")] = None,
    threads: ThreadsOption = 1,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Table to write; by default one kept in the user's data.")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over instead of adding to what was measured.")] = False,
    seed: Annotated[int, typer.Option(min=0, max=2**31, help="Of what is measured first.")] = 0,
    cluster: ClusterOption = None,
    quiet: QuietOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the table's file instead of text.")] = False,
) -> None:
    """Time the parts of a recipe's networks on this machine and fit a latency table.

    More minutes make a better table; the same command again adds to it. `search --budget latency=4ms` and `bench` pick
    the table up.
    """
    from qedeploy import api
    from qedeploy.cli.measure_tables import print_measured, warn_of_other_machine
    from qedeploy.cli.progress import measuring_shown
    from qedeploy.files import read_text
    from qedeploy.screen import screen

    warn_of_other_machine(screen(stderr=True), profile, cluster)
    with measuring_shown(screen(stderr=True), minutes * 60, quiet=quiet) as progress:
        measured = api.measure(
            profile,
            recipe,
            resolution=resolution,
            classes=classes,
            minutes=minutes,
            threads=threads,
            seed=seed,
            out=out,
            keep=True,
            fresh=fresh,
            cluster=cluster,
            progress=progress,
        )
    if as_json and measured.path is not None:
        typer.echo(read_text(measured.path), nl=False)
    elif not quiet:
        print_measured(screen(), measured)
    if measured.interrupted:
        print("interrupted: the table holds what was measured; the same command adds to it", file=sys.stderr)
        raise typer.Exit(130)
