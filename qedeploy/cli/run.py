"""`qedeploy run`: search, export and bench in one folder; with pictures, training and accuracy as well."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qedeploy.cli import bench, evaluate, export
from qedeploy.cli.options import (
    BudgetOption,
    DurationOption,
    FolderOption,
    LatencyTableOption,
    NoFlipOption,
    ProfileOption,
    QuietOption,
    RecipeOption,
    ThreadsOption,
    VerboseOption,
)

if TYPE_CHECKING:
    from qedeploy.train.training import TrainResult


def run(
    context: typer.Context,
    profile: ProfileOption,
    recipe: RecipeOption = None,
    budget: BudgetOption = None,
    latency_table: LatencyTableOption = None,
    measure_minutes: Annotated[
        float,
        typer.Option(min=0.05, max=10_000, help="How long to measure first, if latency is limited and no table kept."),
    ] = 3.0,
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Labelled pictures: train the network on them, and say what it gets right."),
    ] = None,
    resolution: Annotated[int | None, typer.Option(min=8, help="Input size in pixels.")] = None,
    epochs: Annotated[float | None, typer.Option(min=0, help="Epochs with quantizers (--data).")] = None,
    float_epochs: Annotated[
        float | None, typer.Option(min=0, help="Epochs of the float network before it (--data).")
    ] = None,
    no_flip: NoFlipOption = False,
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
    """Search, export and bench in one folder: from a device to a measured network and its report.

    Where latency is limited and this machine has no latency table yet, one is measured first, and kept.

    With --data the network gets the classes of the pictures and is trained on them before it is exported; what the
    exported file gets right stands in the report beside its time.
    """
    from qedeploy import api
    from qedeploy.cli.progress import bounds_shown
    from qedeploy.cli.search_tables import print_found, print_search_verdict
    from qedeploy.errors import UserError
    from qedeploy.screen import line, screen
    from qedeploy.train.picture_sizes import enlarged

    for option, given in (
        ("--epochs", epochs is not None),
        ("--float-epochs", float_epochs is not None),
        ("--no-flip", no_flip),
    ):
        if given and data is None:
            raise UserError(f"{option}: nothing is trained without pictures: expected --data DIR as well")
    pictures = None if data is None else api.labelled_data(data).train
    classes = None if pictures is None else len(pictures.classes)
    silent = quiet or as_json
    if latency_table is None and api.lacks_table(profile, recipe, budgets=budget):
        _title("measure", silent)
        _measure(profile, recipe, resolution, classes, measure_minutes, threads, quiet=quiet, silent=silent)
    _title("search", silent)
    with bounds_shown(screen(stderr=True), quiet=quiet) as progress:
        # A profile that nothing executes is better refused now than after the search.
        found = api.search(
            profile,
            recipe,
            budgets=budget,
            resolution=resolution,
            classes=classes,
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
    if pictures is not None and (hint := enlarged(pictures, found.request.recipe.resolution)):
        screen(stderr=True, quiet=quiet).print(line(f"note: {hint}"), soft_wrap=True)
    if found.interrupted or found.model is None:
        raise typer.Exit(130)
    checkpoint, trained = found.model, None
    if data is not None and pictures is not None:
        _title("train", silent)
        changes = {"epochs": epochs, "float_epochs": float_epochs, "flip": 0.0 if no_flip else None}
        trained = _trained(found.model, data, len(pictures.labels), changes, seed, quiet=quiet, silent=silent)
        checkpoint = trained.model
    _title("export", silent)
    exported = export.export(
        context, checkpoint, out=found.model.with_suffix(".onnx"), calibrate=calibrate, seed=seed, quiet=silent
    )
    if data is not None and trained is not None:
        _title("evaluate", silent)
        if trained.test_top1 is None:
            # What it was trained on says nothing of what it gets right.
            told = f"{data} sets no test pictures apart: to know the exported file's accuracy, give it a folder val/"
            screen(quiet=silent).print(line(told), soft_wrap=True)
        else:
            evaluate.evaluate(exported, data, against=checkpoint, threads=threads, quiet=silent)
    _title("bench", silent)
    # The report finds the accuracy that was counted, beside the file.
    bench.bench(
        context, exported, threads=threads, duration=duration, seed=seed, verbose=verbose, quiet=quiet, json=as_json
    )


def _measure(
    profile: str,
    recipe: str | None,
    resolution: int | None,
    classes: int | None,
    minutes: float,
    threads: int,
    *,
    quiet: bool,
    silent: bool,
) -> None:
    from qedeploy import api
    from qedeploy.cli.measure_tables import print_measured_verdict
    from qedeploy.cli.progress import measuring_shown
    from qedeploy.screen import line, screen

    with measuring_shown(screen(stderr=True), minutes * 60, quiet=quiet) as progress:
        measured = api.measure(
            profile,
            recipe,
            resolution=resolution,
            classes=classes,
            minutes=minutes,
            threads=threads,
            keep=True,
            progress=progress,
        )
    console = screen(quiet=silent)
    console.print(line(f"written to {measured.path}; `qedeploy measure` adds to it"), soft_wrap=True)
    print_measured_verdict(console, measured)
    if measured.interrupted:
        raise typer.Exit(130)


def _trained(
    model: Path, data: Path, pictures: int, changes: dict[str, float | None], seed: int, *, quiet: bool, silent: bool
) -> TrainResult:
    from qedeploy import api
    from qedeploy.screen import line, screen
    from qedeploy.train.execution import InterruptedTraining
    from qedeploy.train.recipe import choose_recipe, with_changes
    from qedeploy.train.terminal import print_trained, training_shown

    folder = model.parent / "trained"
    try:
        with training_shown(screen(stderr=True, quiet=quiet)) as watch:
            recipe = with_changes(choose_recipe(None, lambda: pictures), changes)
            result = api.train(model, data, folder, recipe=recipe, seed=seed, progress=watch)
    except InterruptedTraining:
        text = f"interrupted and saved in {folder}: the same command goes on from there"
        screen(stderr=True).print(line(text), soft_wrap=True)
        raise
    print_trained(screen(quiet=silent), result)
    return result


def _title(step: str, silent: bool) -> None:
    from qedeploy.screen import screen

    screen(quiet=silent).rule(step, align="left")
