"""`qedeploy correlate`: how well BitOps, bytes and the latency table predict what networks take on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from qedeploy.cli.options import (
    ClusterOption,
    FolderOption,
    LatencyTableOption,
    ProfileOption,
    QuietOption,
    RecipeOption,
    ThreadsOption,
)


def correlate(
    profile: ProfileOption,
    recipe: RecipeOption = None,
    networks: Annotated[int, typer.Option(min=3, max=10_000, help="How many networks to measure.")] = 40,
    latency_table: LatencyTableOption = None,
    threads: ThreadsOption = 1,
    seed: Annotated[int, typer.Option(min=0, max=2**31, help="Of the networks.")] = 0,
    cluster: ClusterOption = None,
    out: FolderOption = None,
    quiet: QuietOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print correlation.json instead of text.")] = False,
) -> None:
    """Draw networks from a recipe's space, measure them all, and say which estimate predicted them.

    Half are random, half the best of the space at some budget; none is one the latency table was fitted on. Writes
    correlation.json, correlation.svg and correlation.csv.
    """
    from qedeploy import api
    from qedeploy.cli.progress import counting_shown
    from qedeploy.screen import screen

    with counting_shown(screen(stderr=True), quiet=quiet) as progress:
        correlation = api.correlate(
            profile,
            recipe,
            networks=networks,
            latency_table=latency_table,
            threads=threads,
            seed=seed,
            cluster=cluster,
            folder=out,
            keep=True,
            progress=progress,
        )
    if as_json:
        from qedeploy.files import read_text

        typer.echo(read_text(next(path for path in correlation.written if path.suffix == ".json")), nl=False)
    elif not quiet:
        from qedeploy.cli.correlate_tables import print_correlation

        print_correlation(correlation)
