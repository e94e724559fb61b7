"""What `qedeploy correlate` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qedeploy.campaign.correlation_analysis import CorrelationResult
from qedeploy.campaign.correlation_report import agreement_cells, notes
from qedeploy.campaign.correlation_study import CorrelationStudy

if TYPE_CHECKING:
    from rich.table import Table


def print_correlation(correlation: CorrelationStudy) -> None:
    """Print the figures of each estimate, what they do not say by themselves, and the files."""
    from qedeploy.screen import screen

    console, question = screen(), correlation.question
    console.print(agreement_table(correlation.result))
    for note in notes(correlation.result):
        console.print(note)
    if question.model is None:
        console.print(
            f"no latency table of {question.request.profile.name}: "
            f"`qedeploy measure --profile {question.request.profile_argument}` makes one"
        )
    if correlation.written:
        console.print(f"written to {', '.join(map(str, correlation.written))}", soft_wrap=True)


def agreement_table(result: CorrelationResult) -> Table:
    """Return one row for each estimate."""
    from rich.table import Table

    table = Table(title=f"{len(result.networks)} networks, estimated and measured", title_justify="left")
    table.add_column("estimate", no_wrap=True)
    for heading in ("Spear-\nman", "Kendall", "Kendall,\n95 %", "Pearson", "mean\nerror", "largest"):
        table.add_column(heading, justify="right", no_wrap=True)
    for item in result.agreements:
        table.add_row(*agreement_cells(item))
    return table
