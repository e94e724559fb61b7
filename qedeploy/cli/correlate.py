"""`qedeploy correlate`: how well what is known of networks predicts what they take here, or what they get right."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qedeploy.cli.options import (
    BudgetOption,
    ClusterOption,
    FolderOption,
    LatencyTableOption,
    NoFlipOption,
    ProfileOption,
    QuietOption,
    RecipeOption,
    ThreadsOption,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_NETWORKS = {False: 40, True: 24}
"""Networks unless told otherwise: to measure, and of each arm to train."""


def correlate(
    profile: ProfileOption,
    recipe: RecipeOption = None,
    networks: Annotated[
        int | None,
        typer.Option(min=3, max=10_000, help="How many networks to measure (40), or of each arm to train (24)."),
    ] = None,
    latency_table: LatencyTableOption = None,
    threads: ThreadsOption = 1,
    seed: Annotated[int, typer.Option(min=0, max=2**31, help="Of the networks.")] = 0,
    cluster: ClusterOption = None,
    out: FolderOption = None,
    accuracy: Annotated[
        bool, typer.Option("--accuracy", help="Train the networks, and ask what orders their accuracy.")
    ] = False,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Labelled pictures to train and to test on (--accuracy).")
    ] = None,
    budget: BudgetOption = None,
    arm: Annotated[
        list[str] | None,
        typer.Option(help="widths-fixed, shapes-fixed or free; repeat for more (--accuracy; the first two)."),
    ] = None,
    epochs: Annotated[
        float | None, typer.Option(min=0.01, help="Epochs with quantizers of each training (--accuracy; 10).")
    ] = None,
    float_epochs: Annotated[
        float | None, typer.Option(min=0, help="Epochs in float before them (--accuracy; as many).")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Trainings of each network (--accuracy; 2).")
    ] = None,
    resolution: Annotated[int | None, typer.Option(min=8, help="Input size in pixels (--accuracy).")] = None,
    no_flip: NoFlipOption = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Trainings at a time (--accuracy; 1).")] = None,
    quiet: QuietOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print correlation.json instead of text.")] = False,
) -> None:
    """Draw networks from a recipe's space, measure or train them all, and say which estimate predicted them.

    Half are random, half the best of the space at some budget; none is one the latency table was fitted on. With
    --accuracy they all use the first --budget up and are spread over the score, and are trained alike. Writes
    correlation.json, correlation.svg and correlation.csv; the same command goes on where it was stopped.
    """
    from qedeploy import api
    from qedeploy.cli.measure_tables import warn_of_other_machine
    from qedeploy.cli.progress import counting_shown
    from qedeploy.errors import UserError
    from qedeploy.screen import screen

    only_training = {
        "--data": data,
        "--budget": budget,
        "--arm": arm,
        "--epochs": epochs,
        "--float-epochs": float_epochs,
        "--seeds": seeds,
        "--resolution": resolution,
        "--no-flip": no_flip or None,
        "--workers": workers,
    }
    _require_fitting(accuracy, only_training)
    if not accuracy:
        warn_of_other_machine(screen(stderr=True), profile, cluster)
    with counting_shown(screen(stderr=True), quiet=quiet) as progress:
        if accuracy:
            if data is None:
                raise UserError("--accuracy: nothing can be trained without pictures: expected --data DIR as well")
            trained = api.correlate_accuracy(
                profile,
                data,
                recipe,
                budgets=budget,
                arms=arm or (),
                networks=networks or _NETWORKS[True],
                epochs=epochs or 10.0,
                float_epochs=float_epochs,
                seeds=seeds or 2,
                flip=not no_flip,
                resolution=resolution,
                latency_table=latency_table,
                threads=threads,
                workers=workers or 1,
                seed=seed,
                cluster=cluster,
                folder=out,
                keep=True,
                progress=progress,
            )
            written = trained.written
        else:
            measured = api.correlate(
                profile,
                recipe,
                networks=networks or _NETWORKS[False],
                latency_table=latency_table,
                threads=threads,
                seed=seed,
                cluster=cluster,
                folder=out,
                keep=True,
                progress=progress,
            )
            written = measured.written
    if as_json:
        from qedeploy.files import read_text

        typer.echo(read_text(next(path for path in written if path.suffix == ".json")), nl=False)
    elif not quiet:
        from qedeploy.cli.correlate_tables import print_accuracy_correlation, print_correlation

        if accuracy:
            print_accuracy_correlation(trained)
        else:
            print_correlation(measured)


def _require_fitting(accuracy: bool, only_training: Mapping[str, object]) -> None:
    from qedeploy.errors import UserError

    for option, given in only_training.items():
        if given is not None and not accuracy:
            raise UserError(f"{option}: only networks that are trained have it: add --accuracy")
