"""`qedeploy export`: a checkpoint becomes a verified ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def export(
    checkpoint: Annotated[Path, typer.Argument(help="model.pth, from search or from your own training.")],
    out: Annotated[Path | None, typer.Option(help="ONNX file to write (default: beside the checkpoint).")] = None,
    profile: Annotated[
        str | None, typer.Option(help="Profile name or TOML path (default: the checkpoint's own).")
    ] = None,
    calibrate: Annotated[
        str, typer.Option(metavar="DIR|random", help="Images for steps that were not trained, or random data.")
    ] = "random",
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
        typer.Option(help="Build engine.plan: where TensorRT and a GPU are, or fail without them, or not."),
    ] = "auto",
    engine_batch: Annotated[
        str | None, typer.Option(metavar="N|MIN:OPT:MAX", help="Images an engine takes (default: --batch, or 1).")
    ] = None,
    workspace: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="GPU memory for kernels while building, such as 2GiB (default: all)."),
    ] = None,
    optimization_level: Annotated[
        int, typer.Option(min=0, max=5, help="How long the builder compares kernels: 0 to 5.")
    ] = 3,
    timing_cache: Annotated[bool, typer.Option(help="Keep the kernels' timings for the next build.")] = True,
    seed: Annotated[int, typer.Option(help="Seed of the random data.")] = 0,
) -> Path:
    """Write MODEL.onnx with QDQ nodes for the profile's runtime, verified against PyTorch, and TensorRT's engine.plan.

    Exit code 1 where the runtime's numbers are not PyTorch's: nothing is written then. An engine that TensorRT cannot
    build ends with 3, a required one without TensorRT or a GPU with 4; the ONNX file stays.
    """
    from rich.console import Console
    from rich.progress import Progress

    from qedeploy.export.compile import EngineChoice, export_engine
    from qedeploy.export.exporter import ExportSettings, export_checkpoint
    from qedeploy.export.summary import print_engine, print_summary
    from qedeploy.qdq.images import parse_normalisation
    from qedeploy.runtimes.tensorrt.progress import BuildProgress
    from qedeploy.runtimes.tensorrt.settings import parse_settings

    calibration = None if calibrate == "random" else Path(calibrate)
    settings = ExportSettings(
        profile=profile,
        calibration=calibration,
        images=images,
        batch=batch,
        seed=seed,
        normalisation=parse_normalisation(mean, deviation),
    )
    engine_settings = parse_settings(
        batch=batch,
        engine_batch=engine_batch,
        workspace=workspace,
        optimization_level=optimization_level,
        timing_cache=timing_cache,
    )
    console = Console(stderr=True)
    # Into a file or a pipe a bar would only leave empty lines.
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        tasks = {what: bar.add_task(what, total=None) for what in ("calibrating", "verifying")}
        result = export_checkpoint(
            checkpoint,
            out=out,
            settings=settings,
            progress=lambda what, done, total: bar.update(tasks[what], completed=done, total=total),
        )
        print_summary(result, Console())
        outcome = export_engine(result, EngineChoice(engine), engine_settings, on_event=BuildProgress(bar).show)
    print_engine(outcome, Console())
    return outcome.path
