"""The published models for a terminal and as data: what was printed next to what each accounting gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from qedeploy.network.accounting import REFERENCE_SIZE, Accounting, bitops_accountings, size_accountings
from qedeploy.network.costs import structure_costs
from qedeploy.network.published import PublishedModel
from qedeploy.search.score.kinds.qe_score import qe_score
from qedeploy.units import format_bytes

if TYPE_CHECKING:
    from rich.table import Table

_MARKS = {"rounded": "=", "cut": "~", "": ""}


def published_document(models: Sequence[PublishedModel]) -> list[dict[str, Any]]:
    """Return the rows as JSON-ready data: published figures as numbers, recomputed ones in bytes and BitOps."""
    return [
        {
            "name": model.name,
            "source": model.source,
            "note": model.note,
            "published": {
                "parameter_megabytes": float(model.parameter_megabytes),
                "bitops_giga": float(model.bitops_giga),
                "top1_percent": float(model.top1_percent),
            },
            "score": qe_score(model.structure),
            **asdict(structure_costs(model.structure)),
            "size_accountings": [asdict(item) for item in _sizes(model)],
            "bitops_accountings": [asdict(item) for item in _bitops(model)],
        }
        for model in models
    ]


def published_table(models: Sequence[PublishedModel]) -> Table:
    """Return one row for each model: printed figures beside those recomputed by the reference's accounting."""
    from rich.table import Table

    table = Table(title="Published quantized models (LightNAS)", title_justify="left", box=None, header_style="bold")
    table.add_column("model", no_wrap=True)
    headings = ("top-1 %\nprinted", "Param MB\nprinted", "\nhere", "BitOps G\nprinted", "\nhere")
    for heading in (*headings, "QE-Score\nhere", "peak memory\nhere"):
        table.add_column(heading, justify="right", no_wrap=True)
    for model in models:
        size = next(item for item in _sizes(model) if item.name == REFERENCE_SIZE)
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
    sizes = _accounting_table("Param MB by accounting", models, [_sizes(model) for model in models], 1e6)
    bitops = _accounting_table("BitOps G by accounting", models, [_bitops(model) for model in models], 1e9)
    sizes.add_row("printed", *(model.parameter_megabytes for model in models), style="bold")
    bitops.add_row("printed", *(model.bitops_giga for model in models), style="bold")
    return sizes, bitops


def accounting_notes(models: Sequence[PublishedModel]) -> tuple[str, ...]:
    """Return what a reader of the tables must know, the notes of the models last."""
    fitting = [{item.name for item in _bitops(model) if item.fits} for model in models]
    everywhere = set.intersection(*fitting) if fitting else set()
    verdict = f"{', '.join(sorted(everywhere))} gives" if everywhere else "No single accounting gives"
    named = {note: [model.name for model in models if model.note == note] for note in (m.note for m in models) if note}
    return (
        f"= rounds to the printed figure, ~ gives it with the last digits cut off. {verdict} every printed BitOps.",
        f"here: {REFERENCE_SIZE}, and reference: 64 times LightNAS's flops, with normalisation, activations and "
        "pooling, without the classifier. reference's blocks: MobileNetV2 as LightNAS can draw it, each block with an "
        "expand layer and ReLUs.",
        *(f"{', '.join(names)}: {note}" for note, names in named.items()),
    )


def _accounting_table(
    title: str, models: Sequence[PublishedModel], found: Sequence[tuple[Accounting, ...]], unit: float
) -> Table:
    from rich.table import Table

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


def _sizes(model: PublishedModel) -> tuple[Accounting, ...]:
    return size_accountings(model.structure, model.parameter_megabytes)


def _bitops(model: PublishedModel) -> tuple[Accounting, ...]:
    return bitops_accountings(model.structure, model.bitops_giga)
