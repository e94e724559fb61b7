"""A score report as tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from qedeploy.network.layers import Layer
from qedeploy.screen import screen
from qedeploy.search.score.kinds.deepmad import DeepMad
from qedeploy.search.score.kinds.qe_score import QeScore
from qedeploy.search.score.report import BLIND_BELOW, LayerReport, ScoreReport, blind_above, blind_layers
from qedeploy.units import format_bytes, format_count


def print_scores(reports: Sequence[ScoreReport], *, per_layer: bool = False) -> None:
    """Print the reports: many as a row each, one alone, or all of them `per_layer`, with totals and layers."""
    if not reports:
        return
    console = screen()
    if len(reports) > 1:
        console.print(summary_table(reports))
    for report in reports if per_layer or len(reports) == 1 else ():
        console.print(totals_table(report))
        console.print(layer_table(report))
    for note in notes(reports):
        console.print(note, style="dim", highlight=False)


def totals_table(report: ScoreReport) -> Table:
    """Return the totals of one structure, each with its unit and what it counts."""
    costs, settings = report.costs, report.settings
    ratios = ",".join(f"{ratio:g}" for ratio in settings.stage_ratios)
    peak = max(report.layers, key=lambda item: item.memory_bytes or 0.0)
    table = Table(title=f"{report.source} at {report.structure.resolution} x {report.structure.resolution}", box=None)
    table.title_justify = "left"
    for justify in ("left", "right", "left"):
        table.add_column(justify=justify, overflow="fold")
    table.show_header = False
    table.add_row(
        "score",
        f"{report.score:.4f}",
        f"{_score_text(settings)}; ratios {ratios}",
    )
    table.add_row("BitOps", format_count(costs.bitops), "nominal, from the widths; with normalisation and ReLU")
    if report.executed_bitops is not None:
        table.add_row("executed", format_count(report.executed_bitops), "BitOps in the widths the device computes in")
    table.add_row("flops", format_count(costs.flops), "the reference's unit: 64 BitOps")
    table.add_row("size", format_bytes(costs.size_bytes), "weights, and 2 bytes an output channel; no classifier")
    table.add_row("peak memory", format_bytes(costs.peak_memory_bytes), f"activations, in {peak.layer.name}")
    if report.sram is not None:
        table.add_row(
            "planned SRAM", format_bytes(report.sram.total), "tensors and kernels as the device plans them, multipliers"
        )
    table.add_row("layers", str(costs.layers), "convolutions")
    return table


def _score_text(settings: QeScore) -> str:
    if isinstance(settings, DeepMad):
        return f"DeepMAD's score, blind to widths; alpha {settings.alpha1:g} (channels), {settings.alpha2:g} (kernels)"
    return f"QE-Score in nats; sigma {settings.sigma_weight:g} (W), {settings.sigma_activation:g} (A)"


def layer_table(report: ScoreReport) -> Table:
    """Return one row for each layer."""
    executed = report.executed_bitops is not None
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("layer", no_wrap=True)
    table.add_column("shape", no_wrap=True)
    table.add_column("bits")
    headings = ("nats", "MACs M", "BitOps M", *(("exec. M",) if executed else ()), "KiB", "mem. KiB")
    for heading in headings:
        table.add_column(heading, justify="right")
    for item in report.layers:
        table.add_row(
            item.layer.name, _shape(item.layer), str(item.layer.bits), *_figures(item, executed), style=_style(item)
        )
    return table


def summary_table(reports: Sequence[ScoreReport]) -> Table:
    """Return one row for each structure."""
    executed = any(report.executed_bitops is not None for report in reports)
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("structure", overflow="fold")
    for heading in ("score", "BitOps", *(("executed",) if executed else ()), "size", "peak memory", "layers"):
        table.add_column(heading, justify="right", no_wrap=True)
    for report in reports:
        costs = report.costs
        middle = (format_count(report.executed_bitops or 0.0),) if executed else ()
        table.add_row(
            report.source,
            f"{report.score:.4f}",
            format_count(costs.bitops),
            *middle,
            format_bytes(costs.size_bytes),
            format_bytes(costs.peak_memory_bytes),
            str(costs.layers),
        )
    return table


def notes(reports: Sequence[ScoreReport]) -> tuple[str, ...]:
    """Return what a reader of the tables should know: where the score is blind, and what is not counted."""
    settings = reports[0].settings
    counted = "Costs are computed, nothing is measured. The classifier is counted in none of the totals."
    if isinstance(settings, DeepMad):
        return ("This score knows no widths: it is the same for any of them.", counted)
    blind = sum(len(blind_layers(report)) for report in reports)
    layers = sum(report.costs.layers for report in reports)
    return (
        f"The score is blind above {blind_above(settings.sigma_weight)} weight bits and "
        f"{blind_above(settings.sigma_activation)} activation bits (wider adds under {BLIND_BELOW:g} nats a layer): "
        f"{blind} of {layers} layers are wider.",
        counted,
    )


def _shape(layer: Layer) -> str:
    channels = f"{layer.in_channels}>{layer.out_channels}"
    if layer.kernel == 1 and layer.stride == 1:
        return channels
    return f"{channels} k{layer.kernel}" + (f"/{layer.stride}" if layer.stride > 1 else "")


def _figures(item: LayerReport, executed: bool) -> tuple[str, ...]:
    figures = (
        _fixed(item.entropy, 1.0, 3),
        _fixed(item.layer.macs, 1e6, 2),
        _fixed(item.bitops, 1e6, 1),
        _fixed(item.executed_bitops, 1e6, 1),
        _fixed(item.size_bytes, 1024.0, 1),
        _fixed(item.memory_bytes, 1024.0, 1),
    )
    return figures if executed else (*figures[:3], *figures[4:])


def _fixed(number: float | None, unit: float, digits: int) -> str:
    return "-" if number is None else f"{number / unit:.{digits}f}"


def _style(item: LayerReport) -> str:
    return "dim" if item.entropy is None else ""
