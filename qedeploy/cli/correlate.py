"""`qedeploy correlate`: how well BitOps, bytes and the latency table predict what networks take on this machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from qedeploy.cli.options import (
    ClusterOption,
    FolderOption,
    LatencyTableOption,
    ProfileOption,
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
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
) -> Path:
    """Draw networks from a recipe's space, measure them all, and say which estimate predicted them.

    Half are random, half the best of the space at some budget; none is one the latency table was fitted on. Writes
    correlation.json, correlation.svg and correlation.csv.
    """
    from rich.console import Console

    from qedeploy.campaign.correlation_report import agreement_table, notes, write_correlation
    from qedeploy.campaign.correlation_study import Question, answer
    from qedeploy.campaign.execution import executing
    from qedeploy.campaign.terminal import counting_shown

    question = Question.of(
        profile, recipe, networks=networks, table=latency_table, threads=threads, seed=seed, cluster=cluster
    )
    folder = question.folder(out)
    console = Console(highlight=False)
    with executing(question.request.profile, cluster) as execute:
        try:
            with counting_shown(Console(stderr=True), quiet=quiet) as watch:
                result = answer(question, folder, execute, watch)
        except KeyboardInterrupt:
            if question.journal(folder).path.exists():
                print(f"interrupted: {folder} keeps what was measured; the same command goes on", file=sys.stderr)
            raise typer.Exit(130) from None
    written = write_correlation(folder, result, question.document())
    question.journal(folder).remove()
    if not quiet:
        console.print(agreement_table(result))
        for note in notes(result):
            console.print(note)
        if question.model is None:
            console.print(
                f"no latency table of {question.request.profile.name}: `qedeploy measure --profile {profile}` makes one"
            )
        console.print(f"written to {', '.join(map(str, written))}", soft_wrap=True)
    return folder
