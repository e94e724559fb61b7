"""`qedeploy export`: a checkpoint becomes a verified ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from qedeploy.cli import completion
from qedeploy.cli.options import JsonOption, QuietOption
from qedeploy.cli.runtime_options import given_settings


def export(
    context: typer.Context,
    checkpoint: Annotated[Path, typer.Argument(help="model.pth of a search or your own training, or its folder.")],
    out: Annotated[Path | None, typer.Option(help="ONNX file to write (default: beside the checkpoint).")] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            help="Profile name or TOML path (default: the checkpoint's own).", autocompletion=completion.profiles
        ),
    ] = None,
    calibrate: Annotated[
        str, typer.Option(metavar="DIR|random", help="Images for steps that were not trained, or random data.")
    ] = "random",
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Labelled pictures: calibrate on those to train on, say what the lowering costs on those to test on.",
        ),
    ] = None,
    images: Annotated[
        int | None, typer.Option(min=1, help="How many images to calibrate on (default: 16 of a folder, 4 random).")
    ] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Fix the batch size (default: left open).")] = None,
    mean: Annotated[
        str | None,
        typer.Option(metavar="R,G,B", help="Mean of pixels from 0 to 1 (default: the training's, or ImageNet's)."),
    ] = None,
    deviation: Annotated[str | None, typer.Option(metavar="R,G,B", help="Standard deviation, likewise.")] = None,
    engine: Annotated[
        Literal["auto", "required", "never"],
        typer.Option(
            help="Build the runtime's engine (engine.plan): if it and its device are here, or else fail, or never."
        ),
    ] = "auto",
    seed: Annotated[int, typer.Option(help="Seed of the random data.")] = 0,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> Path:
    """Write MODEL.onnx with QDQ nodes for the profile's runtime, verified against PyTorch, and its engine.

    Exit code 1 if the runtime's numbers are not PyTorch's; nothing is written then. The code is 3 if the runtime
    cannot build the engine, and 4 if it is required and the runtime or its device is missing; the ONNX file stays.
    """
    from qedeploy import api
    from qedeploy.cli.build_progress import BuildProgress
    from qedeploy.cli.export_tables import print_artefact, print_export_verdict, print_summary
    from qedeploy.files import read_text
    from qedeploy.model.checkpoint import checkpoint_file
    from qedeploy.qdq.images import parse_normalisation
    from qedeploy.runtimes.registry import find_runtime, require_build_settings
    from qedeploy.screen import bars, screen

    checkpoint = checkpoint_file(checkpoint)
    normalisation, settings = parse_normalisation(mean, deviation), given_settings(context)
    require_build_settings(settings, batch)
    stages = ("calibrating", "verifying") if data is None else ("calibrating", "verifying", "counting")
    console, out_console = screen(stderr=True, quiet=quiet), screen(quiet=quiet or as_json)
    with bars(console) as bar:
        tasks = {what: bar.add_task(what, total=None) for what in stages}
        exported = api.export(
            checkpoint,
            out or checkpoint.with_suffix(".onnx"),
            profile=profile,
            calibration=None if calibrate == "random" else calibrate,
            data=data,
            images=images,
            batch=batch,
            normalisation=normalisation,
            seed=seed,
            progress=lambda what, done, total: bar.update(tasks[what], completed=done, total=total),
        )
    print_summary(exported, out_console)
    with bars(console) as bar:
        shown = BuildProgress(bar, find_runtime(exported.plan.runtime).label)
        outcome = api.build_artefact(exported, engine, settings=settings, progress=shown.show)
    print_artefact(outcome, out_console)
    print_export_verdict(exported, out_console)
    if as_json:
        typer.echo(read_text(exported.report), nl=False)
    return outcome.path
