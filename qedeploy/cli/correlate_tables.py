"""What `qedeploy correlate` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qedeploy.campaign.accuracy.analysis import ArmResult, Interval
from qedeploy.campaign.accuracy.question import AccuracyCorrelation
from qedeploy.campaign.accuracy.report import sentences
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


def print_accuracy_correlation(correlation: AccuracyCorrelation) -> None:
    """Print how each figure orders accuracy, arm by arm, what that says, and the files."""
    from qedeploy.screen import line, screen

    console = screen()
    for arm in correlation.arms:
        console.print(order_table(arm))
        for sentence in sentences(arm):
            console.print(line(sentence), soft_wrap=True)
    if correlation.written:
        console.print(line(f"written to {', '.join(map(str, correlation.written))}"), soft_wrap=True)


def order_table(arm: ArmResult) -> Table:
    """Return one row for each figure that orders accuracy."""
    from rich.table import Table

    count = len(arm.networks)
    table = Table(title=f"{arm.arm}: {count} networks, ordered by what is known of them", title_justify="left")
    table.add_column("ordered by", no_wrap=True)
    for heading in ("Kendall, 95 %", "Spear-\nman", "score above it, 95 %"):
        table.add_column(heading, justify="right", no_wrap=True)
    for item in arm.orders:
        spearman = "-" if item.spearman is None else f"{item.spearman:+.2f}"
        table.add_row(item.known.value, _interval(item.kendall), spearman, _interval(item.score_above))
    if arm.noise is not None:
        table.add_row("ceiling by seeds", str(arm.noise.ceiling), "", "")
    return table


def _interval(interval: Interval | None) -> str:
    return "-" if interval is None else str(interval)
