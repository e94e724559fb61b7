"""What `qedeploy compare` shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from qedeploy.campaign.comparison.comparing import Group, RunComparison
from qedeploy.campaign.comparison.report import known_of, row
from qedeploy.printable import one_line
from qedeploy.screen import line, screen


def print_comparison(comparison: RunComparison, written: Sequence[Path]) -> None:
    """Print a table for each group, what the other runs lack, and the files."""
    console = screen()
    for group in comparison.groups:
        console.print(group_table(group))
    for one in comparison.lacking:
        known = known_of(one)
        console.print(line(f"{one.run.folder}: no {one.missing}{f' ({known})' if known else ''}"), soft_wrap=True)
        if one.command is not None:
            console.print(line(f"    {one.command}"), soft_wrap=True)
    for note in comparison.notes:
        console.print(line(note), soft_wrap=True)
    if written:
        console.print(line(f"written to {', '.join(map(str, written))}"), soft_wrap=True)


def group_table(group: Group) -> Table:
    """Return one row for each run of a group, the fastest first."""
    table = Table(title=line(group.title), title_justify="left")
    table.add_column("run", overflow="fold")
    table.add_column("front", no_wrap=True)
    for heading in ("latency", "top-1", "95 % interval", "score"):
        table.add_column(heading, justify="right", no_wrap=True)
    for placed in group.runs:
        shown = row(placed)
        table.add_row(
            Text(one_line(shown.name)),
            "Pareto" if shown.best else "",
            shown.latency,
            shown.top1,
            shown.interval,
            shown.score,
            style="bold" if shown.best else "",
        )
    return table
