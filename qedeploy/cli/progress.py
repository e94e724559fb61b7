"""What commands show while they work: a bar or a changing line on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from qedeploy.printable import one_line

if TYPE_CHECKING:
    from rich.console import Console

    from qedeploy.bench.measure.stage import BenchStage
    from qedeploy.campaign.planner import CampaignStanding
    from qedeploy.search.evolution.solver import EvolutionProgress
    from qedeploy.search.exact.search import Bounds

T = TypeVar("T")

SECONDS_BETWEEN_LINES = 30.0
"""How often a command that nobody watches says where it is."""


@contextmanager
def bounds_shown(console: Console, *, quiet: bool) -> Iterator[Callable[[Bounds], None] | None]:
    """Yield what the exact search reports to: a line that changes on a terminal, nothing elsewhere or if `quiet`."""
    if quiet or not console.is_terminal:
        yield None
        return
    from qedeploy.screen import line

    with console.status("multipliers") as status:
        yield lambda bounds: status.update(line(str(bounds)))


@contextmanager
def evolution_shown(console: Console, *, quiet: bool) -> Iterator[Callable[[EvolutionProgress], None] | None]:
    """Yield what evolution reports to: a progress bar on a terminal, a line now and then elsewhere, None if `quiet`."""
    if quiet:
        yield None
    elif console.is_terminal:
        yield from _evolution_bar(console)
    else:
        yield _now_and_then(
            console, lambda progress: f"{progress.evaluations:,} of {progress.total:,} evaluations; {progress}"
        )


@contextmanager
def measuring_shown(
    console: Console, seconds: float, *, quiet: bool
) -> Iterator[Callable[[CampaignStanding], None] | None]:
    """Yield what a campaign of `seconds` reports to: as `evolution_shown`."""
    began = time.monotonic()
    if quiet:
        yield None
    elif console.is_terminal:
        yield from _seconds_bar(console, seconds)
    else:
        yield _now_and_then(
            console, lambda standing: f"{(time.monotonic() - began) / 60:.1f} of {seconds / 60:g} min: {standing}"
        )


@contextmanager
def counting_shown(console: Console, *, quiet: bool) -> Iterator[Callable[[str, int, int], None] | None]:
    """Yield what says what is being done, and how much of it is done: a bar on a terminal, nothing elsewhere."""
    if quiet or not console.is_terminal:
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=None)
        yield lambda what, done, total: progress.update(task, description=what, completed=done, total=total)


@contextmanager
def stages_shown(console: Console, *, quiet: bool) -> Iterator[Callable[[BenchStage], None]]:
    """Yield what a benchmark reports to: the time that is left on a terminal, a line now and then elsewhere."""
    if quiet:
        yield lambda _: None
    elif console.is_terminal:
        yield from _countdown(console)
    else:
        yield _now_and_then(console, lambda stage: f"{stage}{_left(stage.seconds_left)}")


def _countdown(console: Console) -> Iterator[Callable[[BenchStage], None]]:
    from rich.progress import Progress, ProgressColumn, SpinnerColumn, Task, TextColumn, TimeElapsedColumn
    from rich.text import Text

    class Left(ProgressColumn):
        """The time that is left by plan, counted down between reports."""

        def render(self, task: Task) -> Text:
            end = task.fields.get("end")
            return Text("" if end is None else _left(max(0.0, end - time.monotonic())))

    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn(), Left())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=None, end=None)

        def show(stage: BenchStage) -> None:
            left = stage.seconds_left
            progress.update(
                task, description=one_line(stage.text), end=None if left is None else time.monotonic() + left
            )

        yield show


def _left(seconds: float | None) -> str:
    return "" if seconds is None else f", about {seconds:.0f} s left"


def _evolution_bar(console: Console) -> Iterator[Callable[[EvolutionProgress], None]]:
    from rich.console import Group
    from rich.live import Live
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar
    from rich.text import Text

    bar = Bar(
        BarColumn(20), MofNCompleteColumn(), TextColumn("{task.fields[rate]}", markup=False), TimeRemainingColumn()
    )
    task = bar.add_task("", total=None, rate="")
    found = Text("searching")
    first: dict[str, tuple[float, int]] = {}

    def watch(progress: EvolutionProgress) -> None:
        now = time.monotonic()
        # Counted from the first report: what a checkpoint brought along was not evaluated here.
        began, before = first.setdefault("report", (now, progress.evaluations))
        rate = f"{(progress.evaluations - before) / (now - began):,.0f}/s" if now > began else ""
        bar.update(task, total=progress.total, completed=progress.evaluations, rate=rate)
        found.plain = str(progress)

    with Live(Group(bar, found), console=console, transient=True):
        yield watch


def _seconds_bar(console: Console, seconds: float) -> Iterator[Callable[[CampaignStanding], None]]:
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("measuring"),
        BarColumn(),
        TextColumn("{task.description}", markup=False),
        TimeRemainingColumn(),
    )
    began = time.monotonic()
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=seconds)
        yield lambda standing: progress.update(
            task, completed=min(seconds, time.monotonic() - began), description=str(standing)
        )


def _now_and_then(console: Console, text: Callable[[T], str]) -> Callable[[T], None]:
    last = time.monotonic()

    def report(progress: T) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES:
            last = now
            console.print(text(progress), highlight=False)

    return report
