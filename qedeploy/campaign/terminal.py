"""What `qedeploy measure` shows: how far it is, and how good the table has become."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from qedeploy.campaign.measure_table import MeasuredTable
from qedeploy.campaign.planner import Standing
from qedeploy.latency.predictor import LatencyModel
from qedeploy.latency.table import LatencyTable
from qedeploy.profiles.profile import Profile
from qedeploy.search.request import Request

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

SECONDS_BETWEEN_LINES = 30.0
"""How often a measurement that nobody watches says where it is."""


@contextmanager
def measuring_shown(console: Console, seconds: float, *, quiet: bool) -> Iterator[Callable[[Standing], None]]:
    """Yield what a campaign of `seconds` reports to: a bar on a terminal, a line now and then elsewhere."""
    if quiet:
        yield lambda _: None
    elif console.is_terminal:
        yield from _bar(console, seconds)
    else:
        yield _lines(console, seconds)


@contextmanager
def counting_shown(console: Console, *, quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Yield what says what is being done, and how much of it is done: a bar on a terminal, nothing elsewhere."""
    if quiet or not console.is_terminal:
        yield lambda _what, _done, _total: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=None)
        yield lambda what, done, total: progress.update(task, description=what, completed=done, total=total)


def describe(standing: Standing) -> str:
    """Return a standing in words."""
    error = "" if standing.error is None else f", error {standing.error:.1%}"
    lost = f", {standing.lost} lost" if standing.lost else ""
    return f"{standing.points} parts, {standing.networks} networks{error}{lost}"


def _bar(console: Console, seconds: float) -> Iterator[Callable[[Standing], None]]:
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("measuring"), BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    began = time.monotonic()
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=seconds)
        yield lambda standing: progress.update(
            task, completed=min(seconds, time.monotonic() - began), description=describe(standing)
        )


def _lines(console: Console, seconds: float) -> Callable[[Standing], None]:
    began = last = time.monotonic()

    def report(standing: Standing) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES:
            console.print(f"{(now - began) / 60:.1f} of {seconds / 60:g} min: {describe(standing)}", highlight=False)
            last = now

    return report


def print_measured(console: Console, measured: MeasuredTable, request: Request) -> None:
    """Print a table that was measured, what is missing in it, where it is, and what to do next."""
    print_table(console, measured.table, request.profile)
    if measured.failures:
        console.print(f"not measured, {len(measured.failures)} parts: {measured.failures[0]}")
    if measured.lost:
        console.print(f"{measured.lost} jobs were lost with their workers")
    console.print(f"written to {measured.path}", soft_wrap=True)
    console.print(
        f"next: [bold]qedeploy search --profile {request.profile_argument} --budget latency=...ms[/], or "
        f"[bold]qedeploy correlate --profile {request.profile_argument}[/] for how true it is",
        soft_wrap=True,
    )


def print_table(console: Console, table: LatencyTable, profile: Profile) -> None:
    """Print what a table holds and how well its points, and whole networks, are predicted from the others."""
    console.print(_parts(table, profile))
    calibration = table.calibration
    stable = sum(not point.unstable for point in table.points)
    console.print(
        f"{len(table.points)} points, {stable} of them stable; {table.device}, {table.runtime.get('name', '')} "
        f"{table.runtime.get('version', '')}, {table.settings.get('threads', '?')} thread(s)",
        highlight=False,
    )
    if calibration.networks:
        error = "" if calibration.error is None else f", each predicted from the others to {calibration.error:.1%}"
        console.print(
            f"{calibration.networks} whole networks{error}: {calibration}",
            highlight=False,
        )


def _parts(table: LatencyTable, profile: Profile) -> Table:
    from rich.table import Table

    shown = Table(title=f"latency table of {table.profile}", title_justify="left")
    shown.add_column("part")
    for heading in ("points", "unstable", "mean error", "90 % within"):
        shown.add_column(heading, justify="right")
    for name, error in LatencyModel(table, profile).errors().items():
        shares = ("-" if share is None else f"{share:.1%}" for share in (error.mean, error.p90))
        shown.add_row(name, str(error.points), str(error.unstable), *shares)
    shown.caption = "error: each point predicted from the others"
    return shown
