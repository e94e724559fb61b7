"""What `qedeploy models` shows: printed figures beside recomputed ones, and times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from qedeploy.network.accounting import REFERENCE_SIZE, Accounting
from qedeploy.network.costs import structure_costs
from qedeploy.network.published import PublishedModel
from qedeploy.screen import screen
from qedeploy.search.score.kinds.qe_score import qe_score
from qedeploy.search.score.published_figures import accounting_notes, published_bitops, published_sizes
from qedeploy.units import format_bytes

if TYPE_CHECKING:
    from qedeploy.bench.published import PublishedBench

_MARKS = {"rounded": "=", "cut": "~", "": ""}
_GIGA = 1e9


def print_models(models: Sequence[PublishedModel], measured: PublishedBench | None = None) -> None:
    """Print the published models, the accountings, what was measured, if it was, and what to do next."""
    console = screen()
    for table in (published_table(models), *accounting_tables(models)):
        console.print(table)
    for note in accounting_notes(models):
        console.print(note, style="dim")
    if measured is not None:
        from qedeploy.bench.published import measured_notes

        console.print(measured_table(measured))
        for note in measured_notes(measured):
            console.print(note, style="dim")
    console.print("\nOne of them as a model with initialised weights: qedeploy models build NAME")


def published_table(models: Sequence[PublishedModel]) -> Table:
    """Return one row for each model: printed figures beside those recomputed by the reference's accounting."""
    table = Table(title="Published quantized models (LightNAS)", title_justify="left", box=None, header_style="bold")
    table.add_column("model", no_wrap=True)
    headings = ("top-1 %\nprinted", "Param MB\nprinted", "\nhere", "BitOps G\nprinted", "\nhere")
    for heading in (*headings, "QE-Score\nhere", "peak memory\nhere"):
        table.add_column(heading, justify="right", no_wrap=True)
    for model in models:
        size = next(item for item in published_sizes(model) if item.name == REFERENCE_SIZE)
        costs = structure_costs(model.structure)
        table.add_row(
            model.name,
            model.top1_percent,
            model.parameter_megabytes,
            f"{size.value / 1e6:.2f}",
            model.bitops_giga,
            f"{costs.bitops / 1e9:.2f}",
            f"{qe_score(model.structure):.3f}",
            format_bytes(costs.peak_memory_bytes),
        )
    return table


def accounting_tables(models: Sequence[PublishedModel]) -> tuple[Table, Table]:
    """Return the recomputed sizes (MB) and BitOps (G): a row for each accounting, a column for each model."""
    sizes = _accounting_table("Param MB by accounting", models, [published_sizes(model) for model in models], 1e6)
    bitops = _accounting_table("BitOps G by accounting", models, [published_bitops(model) for model in models], 1e9)
    sizes.add_row("printed", *(model.parameter_megabytes for model in models), style="bold")
    bitops.add_row("printed", *(model.bitops_giga for model in models), style="bold")
    return sizes, bitops


def _accounting_table(
    title: str, models: Sequence[PublishedModel], found: Sequence[tuple[Accounting, ...]], unit: float
) -> Table:
    table = Table(title=title, title_justify="left", box=None, header_style="bold")
    table.add_column("accounting", no_wrap=True)
    for model in models:
        table.add_column(model.name, justify="right", no_wrap=True)
    by_name = [{item.name: item for item in items} for items in found]
    for name in dict.fromkeys(item.name for items in found for item in items):
        table.add_row(name, *(_cell(items.get(name), unit) for items in by_name))
    return table


def _cell(item: Accounting | None, unit: float) -> str:
    return "" if item is None else f"{_MARKS[item.fits]}{item.value / unit:.2f}"


def measured_table(bench: PublishedBench) -> Table:
    """Return one row for each model, latencies in milliseconds."""
    measured = bench.models
    table = Table(title="Measured on this machine", title_justify="left", box=None, header_style="bold")
    table.padding = (0, 1, 0, 0)
    table.add_column("model", no_wrap=True)
    headings = ("top-1\n%", "QE-\nScore", "BitOps G\nnominal", "BitOps G\nexecuted", "p50\nms")
    for heading in (*headings, f"latency against\n{measured[0].name}"):
        table.add_column(heading, justify="right", no_wrap=True)
    for item in measured:
        table.add_row(
            item.name,
            item.top1_percent or "-",
            f"{item.score:.1f}",
            f"{item.bitops / _GIGA:.2f}",
            f"{item.executed_bitops / _GIGA:.2f}",
            f"{item.summary.median * 1e3:.2f}",
            str(item.against_first),
        )
    return table
