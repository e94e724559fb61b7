"""What `qedeploy train` shows: how far it is, and what came out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from qedeploy.printable import one_line
from qedeploy.train.execution import TrainingProgress, Watch
from qedeploy.units import format_bytes

if TYPE_CHECKING:
    from rich.console import Console

    from qedeploy.train.estimate import TrainingPlan
    from qedeploy.train.training import TrainResult

SECONDS_BETWEEN_LINES = 30.0
"""How often a training that nobody watches says where it is."""


@contextmanager
def training_shown(console: Console) -> Iterator[Watch]:
    """Yield what a training reports to: a bar on a terminal, a line now and then elsewhere."""
    if console.is_terminal:
        yield from _bar(console)
    else:
        yield _lines(console)


def describe(progress: TrainingProgress) -> str:
    """Return progress in words."""
    best = "" if progress.best is None else f", best {progress.best:.2%} held out"
    return (
        f"{progress.stage} epoch {progress.epoch:.2f} of {progress.epochs:g}: loss {progress.loss:.3f}, top-1 "
        f"{progress.top1:.2%}, {progress.images_per_second:,.0f} images/s{best}"
    )


def print_trained(console: Console, result: TrainResult) -> None:
    """Print what a training reached, and where it is."""
    if result.float_top1 is not None:
        console.print(f"float network: top-1 {result.float_top1:.2%} of {result.held_out_images:,} held-out images")
    console.print(
        f"quantized network: top-1 {result.held_out_top1:.2%} of {result.held_out_images:,} held-out images, which "
        "chose the weights",
        highlight=False,
    )
    if result.test_top1 is not None:
        console.print(f"test images: top-1 {result.test_top1:.2%} of {result.test_images:,} (PyTorch)", highlight=False)
    if result.skipped:
        first = next(iter(result.skipped))
        console.print(f"warning: {len(result.skipped)} pictures were skipped: {first}", style="yellow", markup=False)
    console.print(f"written to {result.model.parent} after {result.seconds:,.0f} s of training", highlight=False)


def print_next(console: Console, result: TrainResult) -> None:
    """Print what to do with a trained network."""
    from rich.text import Text

    console.print(Text.assemble("next: ", (one_line(f"qedeploy export {result.model}"), "bold")), soft_wrap=True)


def _bar(console: Console) -> Iterator[Watch]:
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (BarColumn(20), TextColumn("{task.description}", markup=False), TimeRemainingColumn())
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)
        stage = ""

        def watch(progress: TrainingProgress) -> None:
            nonlocal stage
            if progress.stage != stage:
                stage = progress.stage
                bar.reset(task, total=progress.steps)
            bar.update(task, completed=progress.step, total=progress.steps, description=describe(progress))

        yield watch


def _lines(console: Console) -> Watch:
    last = [time.monotonic()]

    def watch(progress: TrainingProgress) -> None:
        now = time.monotonic()
        if now - last[0] >= SECONDS_BETWEEN_LINES:
            last[0] = now
            console.print(describe(progress), highlight=False)

    return watch


def print_plan(console: Console, plan: TrainingPlan) -> None:
    """Print what a training will take, by stage."""
    from rich.table import Table

    table = Table(title=f"{plan.pictures:,} pictures on {plan.device}", title_justify="left")
    for heading in ("stage", "epochs", "time per epoch", "images/s", "peak memory", "waiting for pictures"):
        table.add_column(heading, justify="left" if heading == "stage" else "right")
    for stage in plan.stages:
        table.add_row(
            stage.name,
            f"{stage.epochs:g}",
            f"{stage.seconds_per_epoch:,.1f} s",
            f"{stage.images_per_second:,.0f}",
            format_bytes(stage.peak_bytes),
            f"{stage.waiting_share:.0%}",
        )
    console.print(table)
    console.print(f"about {plan.seconds / 60:,.1f} minutes in all, measured on {plan.steps} steps of each stage")
