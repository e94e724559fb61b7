"""`qedeploy search`: from a device and a budget to a network."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum
from typing import Annotated, Any

import typer

from qedeploy.cli.options import (
    BudgetOption,
    ClusterOption,
    FolderOption,
    LatencyTableOption,
    ProfileOption,
    QuietOption,
    RecipeOption,
    VerboseOption,
)
from qedeploy.printable import one_line


class SearchMethod(StrEnum):
    """How to search."""

    EXACT = "exact"
    EVOLUTION = "evolution"


class Format(StrEnum):
    """What to write the structure as."""

    JSON = "json"
    LIGHTNAS = "lightnas"


def search(
    profile: ProfileOption,
    recipe: RecipeOption = None,
    budget: BudgetOption = None,
    latency_table: LatencyTableOption = None,
    method: Annotated[SearchMethod, typer.Option(help="With a proof, or by mutation.")] = SearchMethod.EXACT,
    top: Annotated[int, typer.Option(min=1, max=1000, help="List that many shapes (exact).")] = 1,
    pareto: Annotated[
        str | None, typer.Option(metavar="KIND", help="Also the front of score against this budget (exact).")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of the weights; and of evolution.")] = 0,
    evaluations: Annotated[
        int | None, typer.Option(min=1, help="Structures to score (evolution; by default 500000).")
    ] = None,
    population: Annotated[
        int | None, typer.Option(min=2, help="Structures to keep (evolution; by default 512).")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes, 4 at most of use (evolution, --pareto; by default 1).")
    ] = None,
    cluster: ClusterOption = None,
    resolution: Annotated[int | None, typer.Option(min=8, help="Input size in pixels.")] = None,
    classes: Annotated[int | None, typer.Option(min=1, help="Classes that it tells apart.")] = None,
    form: Annotated[
        Format, typer.Option("--format", help="Structure as structure.json, or as LightNAS's best_structure.txt too.")
    ] = Format.JSON,
    out: FolderOption = None,
    model: Annotated[bool, typer.Option(help="Write model.pth with initialised weights.")] = True,
    verbose: VerboseOption = False,
    quiet: QuietOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print search.json instead of tables.")] = False,
) -> None:
    """Search for the network with the best QE-Score on a device under a budget."""
    # Before NumPy is there: the products of a search are too small to share out, yet every thread of OpenBLAS waits for
    # its share of them at full load.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

    from qedeploy import api
    from qedeploy.packages import require_package

    # Before the search, which may take long.
    if model:
        require_package("torch", otherwise="--no-model leaves model.pth out")
    if pareto is not None:
        require_package("matplotlib", otherwise="a search without --pareto does not need it")
    with _shown(method, quiet=quiet) as progress:
        found = api.search(
            profile,
            recipe,
            budgets=budget,
            resolution=resolution,
            classes=classes,
            latency_table=latency_table,
            against=pareto,
            method=method.value,
            top=top,
            seed=seed,
            evaluations=evaluations,
            population=population,
            workers=workers,
            cluster=cluster,
            folder=out,
            keep=True,
            model=model,
            lightnas=form is Format.LIGHTNAS,
            progress=progress,
        )
    if as_json:
        from qedeploy.files import json_text

        typer.echo(json_text(found.document()), nl=False)
    elif not quiet:
        from qedeploy.cli.search_tables import print_found

        print_found(found, alternatives=top > 1, verbose=verbose)
    if pareto is not None and not found.interrupted:
        front = api.front(found, pareto, workers=workers or 1, cluster=cluster, folder=found.folder)
        if not (quiet or as_json):
            from qedeploy.cli.proof_tables import print_front

            print_front(front, found)
        if front.interrupted:
            print(one_line(f"interrupted: {found.folder} keeps the points that were found"), file=sys.stderr)
            raise typer.Exit(130)
    if not (quiet or as_json):
        from qedeploy.cli.search_tables import print_search_verdict

        print_search_verdict(found)
    if found.interrupted:
        raise typer.Exit(130)


def _shown(method: SearchMethod, *, quiet: bool) -> AbstractContextManager[Callable[[Any], None] | None]:
    """Return what shows on standard error where a search is; without Rich, which takes its time, where nothing is."""
    if quiet:
        return nullcontext()
    from qedeploy.cli.progress import bounds_shown, evolution_shown
    from qedeploy.screen import screen

    if method is SearchMethod.EXACT:
        return bounds_shown(screen(stderr=True), quiet=False)
    return evolution_shown(screen(stderr=True), quiet=False)
