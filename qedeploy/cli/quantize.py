"""`qedeploy quantize`: any trained ONNX network in the fastest form that keeps its outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qedeploy.cli.options import FolderOption, ProfileOption, QuietOption, ThreadsOption
from qedeploy.export.onnx_networks.methods import CalibrationMethod


def quantize(
    model: Annotated[Path, typer.Argument(help="A float ONNX file of any maker.")],
    data: Annotated[Path, typer.Option(help="Images, or .npy and .npz arrays of its inputs: a folder or one file.")],
    profile: ProfileOption = "cpu-int8",
    shape: Annotated[
        list[str] | None,
        typer.Option(metavar="SIZES", help="Sizes that the file leaves open: x=1x3x48x320 or height=48; repeat."),
    ] = None,
    budget: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND=LIMIT", help="latency=0.8x (of float), latency=4ms, error=0.02, size=2.2MB."),
    ] = None,
    calibration: Annotated[CalibrationMethod, typer.Option(help="How ranges are chosen.")] = CalibrationMethod.MSE,
    samples: Annotated[int, typer.Option(min=1, help="How much of the data to use at most.")] = 16,
    fix: Annotated[
        list[str] | None, typer.Option(metavar="LAYER=PRECISION", help="Precision of a layer, such as conv1=float32.")
    ] = None,
    keep: Annotated[
        list[str] | None, typer.Option(metavar="REGEX", help="Layers that stay in float32; repeat for more.")
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="top1|MODULE:FUNCTION", help="What counts as right on the data: by class folders, or yours."
        ),
    ] = None,
    max_drop: Annotated[
        float, typer.Option(min=0.0, help="What the metric may lose, in its unit (top1: per cent).")
    ] = 0.0,
    pareto: Annotated[bool, typer.Option("--pareto", help="Also the whole front of error against time.")] = False,
    mean: Annotated[
        str | None, typer.Option(metavar="R,G,B", help="Mean of pixels from 0 to 1 (default: ImageNet's).")
    ] = None,
    deviation: Annotated[str | None, typer.Option(metavar="R,G,B", help="Standard deviation, likewise.")] = None,
    duration: Annotated[str, typer.Option(help="Time to run each trial for at least.")] = "300ms",
    threads: ThreadsOption = 1,
    out: FolderOption = None,
    quiet: QuietOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print assignment.json instead of text.")] = False,
) -> Path:
    """Find the precision of each layer from measured error and time, and write the fastest file within the error.

    Writes model.onnx, sensitivity.json and assignment.json. Where float32 is as fast, model.onnx is the prepared float
    network. Exit code 1 where the file does not run as planned, 3 where the budgets cannot be met.
    """
    from qedeploy import api
    from qedeploy.cli.progress import counting_shown
    from qedeploy.cli.quantize_tables import print_quantization
    from qedeploy.files import read_text
    from qedeploy.screen import screen

    with counting_shown(screen(stderr=True), quiet=quiet) as shown:
        result = api.quantize(
            model, data,
            profile=profile, shapes=shape or (), budgets=budget or (), calibration=calibration.value, samples=samples,
            fixed=fix or (), kept=keep or (), metric=metric, max_drop=max_drop, pareto=pareto, mean=mean,
            deviation=deviation, duration=duration, threads=threads, folder=out, keep=True, progress=shown,
        )  # fmt: skip
    if result.written is None:
        raise RuntimeError("a kept quantization has files")
    print_quantization(result, screen(quiet=quiet or as_json))
    if as_json:
        typer.echo(read_text(result.written.assignment), nl=False)
    return result.written.model
