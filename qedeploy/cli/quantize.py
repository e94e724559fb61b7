"""`qedeploy quantize`: any trained network in the precisions that its data and its device speak for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from qedeploy.cli import completion
from qedeploy.cli.options import FolderOption, LatencyTableOption, QuietOption, ThreadsOption
from qedeploy.errors import UserError
from qedeploy.export.onnx_networks.methods import CalibrationMethod

_CHECKPOINTS = {".pth", ".pt"}


def quantize(
    context: typer.Context,
    model: Annotated[
        Path, typer.Argument(help="A float ONNX file of any maker, or a trained model.pth of qedeploy's.")
    ],
    data: Annotated[
        Path,
        typer.Option(help="Images, or .npy and .npz arrays of its inputs: a folder or one file; labelled, for a .pth."),
    ],
    profile: Annotated[
        str | None,
        typer.Option(
            help="Device: a name or a TOML file (cpu-int8; of a .pth its own).", autocompletion=completion.profiles
        ),
    ] = None,
    shape: Annotated[
        list[str] | None,
        typer.Option(metavar="SIZES", help="Sizes that the file leaves open: x=1x3x48x320 or height=48; repeat."),
    ] = None,
    budget: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND=LIMIT",
            help="latency=0.8x (of float) or 4ms, error=0.02, size=2.2MB, executed-bitops=1G; of a .pth bitops=0.5x.",
        ),
    ] = None,
    calibration: Annotated[CalibrationMethod, typer.Option(help="How ranges are chosen.")] = CalibrationMethod.MSE,
    samples: Annotated[
        int | None, typer.Option(min=1, help="How much of the data to use at most (16; of a .pth 128).")
    ] = None,
    fix: Annotated[
        list[str] | None, typer.Option(metavar="LAYER=PRECISION", help="Precision of a layer, such as conv1=float32.")
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(metavar="REGEX", help="Layers that stay in float32, or as they are in a .pth; repeat for more."),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="top1|MODULE:FUNCTION", help="What counts as right on the data: by class folders, or yours."
        ),
    ] = None,
    max_drop: Annotated[
        float | None, typer.Option(min=0.0, help="What the metric may lose, in its unit (top1: per cent).")
    ] = None,
    pareto: Annotated[bool, typer.Option("--pareto", help="Also the whole front of error against time.")] = False,
    mean: Annotated[
        str | None, typer.Option(metavar="R,G,B", help="Mean of pixels from 0 to 1 (default: ImageNet's).")
    ] = None,
    deviation: Annotated[str | None, typer.Option(metavar="R,G,B", help="Standard deviation, likewise.")] = None,
    latency_table: LatencyTableOption = None,
    duration: Annotated[str, typer.Option(help="Time to run each trial for at least.")] = "300ms",
    threads: ThreadsOption = 1,
    out: FolderOption = None,
    quiet: QuietOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print assignment.json instead of text.")] = False,
) -> Path:
    """Choose the precision of each layer from data and time, or the widths of each layer of a network of qedeploy's.

    Of an ONNX file: the fastest form whose outputs keep within the error, as model.onnx; where float32 is as fast,
    the prepared float network. For GPUs, which are not timed: the fewest executed BitOps within the error, or the
    least error within a size, in float16, W8A8 and W4A16, and engine.plan where that can be built. Of a checkpoint:
    the widths that lose least within the budgets, or the fewest BitOps within --max-drop, as model.pth, which
    `qedeploy train` recovers and `qedeploy export` takes. All with sensitivity.json and assignment.json. Exit code 1
    where the file does not run as planned, 3 where the budgets cannot be met.
    """
    from qedeploy import api
    from qedeploy.campaign.quantization.run import FinishedQuantization
    from qedeploy.cli.progress import counting_shown
    from qedeploy.cli.quantize_tables import print_quantization, print_typed_quantization, print_widths
    from qedeploy.files import read_text
    from qedeploy.screen import screen

    console = screen(quiet=quiet or as_json)
    if model.is_dir() or model.suffix.lower() in _CHECKPOINTS:
        _require_none(context, "a checkpoint", ("shape", "calibration", "pareto", "duration", "threads"))
        if metric not in {None, "top1"}:
            raise UserError(f"--metric {metric}: expected top1 for a checkpoint")
        from qedeploy.qdq.images import parse_normalisation

        with counting_shown(screen(stderr=True), quiet=quiet) as shown:
            widths = api.assign_widths(
                model, data,
                profile=profile, budgets=budget or (), max_drop=max_drop, samples=samples or 128, fixed=fix or (),
                kept=keep or (), normalisation=parse_normalisation(mean, deviation), latency_table=latency_table,
                folder=out, keep=True, progress=shown,
            )  # fmt: skip
        if widths.written is None:
            raise RuntimeError("kept widths have files")
        print_widths(widths, data, console)
        written, assignment = widths.written.model, widths.written.assignment
    else:
        _require_none(context, "an ONNX file", ("latency_table",))
        with counting_shown(screen(stderr=True), quiet=quiet) as shown:
            result = api.quantize(
                model, data,
                profile=profile or "cpu-int8", shapes=shape or (), budgets=budget or (), calibration=calibration.value,
                samples=samples or 16, fixed=fix or (), kept=keep or (), metric=metric, max_drop=max_drop or 0.0,
                pareto=pareto, mean=mean, deviation=deviation, duration=duration, threads=threads, folder=out,
                keep=True, progress=shown,
            )  # fmt: skip
        if result.written is None:
            raise RuntimeError("a kept quantization has files")
        if isinstance(result, FinishedQuantization):
            print_quantization(result, console)
        else:
            print_typed_quantization(result, console)
        written, assignment = result.written.model, result.written.assignment
    if as_json:
        typer.echo(read_text(assignment), nl=False)
    return written


def _require_none(context: typer.Context, of: str, names: Sequence[str]) -> None:
    """Raise UserError for an option that is given and means nothing for this kind of network."""
    for name in names:
        source = context.get_parameter_source(name)
        if source is not None and source.name != "DEFAULT":
            raise UserError(f"--{name.replace('_', '-')}: means nothing for {of}: leave it out")
