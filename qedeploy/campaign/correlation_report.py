"""A correlation as figures in text, a scatter plot, JSON and CSV."""

from __future__ import annotations

import csv
import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np

from qedeploy.campaign.correlation_analysis import Agreement, CorrelationResult, Estimate, proportional
from qedeploy.campaign.network_sampling import Drawn
from qedeploy.figures import write_svg
from qedeploy.files import write_json, write_text
from qedeploy.network.structure_file import to_document
from qedeploy.publishing import together
from qedeploy.units import format_duration

FORMAT = "qedeploy-correlation/1"
JSON_FILE, PLOT_FILE, CSV_FILE = "correlation.json", "correlation.svg", "correlation.csv"
_MARKS = {Drawn.RANDOM: ("o", "tab:blue"), Drawn.BITOPS: ("^", "tab:orange"), Drawn.LATENCY: ("s", "tab:green")}


def write_correlation(folder: Path, result: CorrelationResult, request: dict[str, Any]) -> tuple[Path, Path, Path]:
    """Write correlation.json (with `request`, what was asked), correlation.svg and correlation.csv; returns them."""
    with together(folder):
        return (
            write_json(folder / JSON_FILE, document(result, request)),
            draw_scatter(folder / PLOT_FILE, result),
            write_text(folder / CSV_FILE, rows_as_csv(result)),
        )


def document(result: CorrelationResult, request: dict[str, Any]) -> dict[str, Any]:
    """Return a correlation as JSON-ready data."""
    networks = [
        {
            "drawn": item.network.drawn.value,
            "seconds": item.seconds,
            "spread": item.spread,
            "rounds": item.rounds,
            "known_parts": item.known_parts,
            "estimates": {name.value: value for name, value in item.estimates.items()},
            "structure": to_document(item.network.structure),
        }
        for item in result.networks
    ]
    return {
        "format": FORMAT,
        **request,
        "machine": dict(result.machine),
        "runtime": dict(result.runtime),
        "reference_seconds": result.reference_seconds,
        "speed": result.speed,
        "error_at_table_speed": result.error_at_table_speed,
        "lost": result.lost,
        "agreements": [dataclasses.asdict(item) for item in result.agreements],
        "networks": networks,
    }


def rows_as_csv(result: CorrelationResult) -> str:
    """Return one line for each network: how it was drawn, measured seconds, spread, and all estimates."""
    names = list(result.networks[0].estimates)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["drawn", "seconds", "spread", *(name.value for name in names)])
    for item in result.networks:
        writer.writerow([item.network.drawn.value, item.seconds, item.spread, *(item.estimates[n] for n in names)])
    return stream.getvalue()


def agreement_cells(item: Agreement) -> tuple[str, ...]:
    """Return the figures of one estimate as text: name, Spearman, Kendall, interval, Pearson, errors."""
    interval = "-" if item.interval is None else f"{item.interval[0]:.2f}..{item.interval[1]:.2f}"
    figures = ("-" if value is None else f"{value:.3f}" for value in (item.spearman, item.kendall))
    spearman, kendall = figures
    pearson = "-" if item.pearson is None else f"{item.pearson:.3f}"
    return (item.estimate.value, spearman, kendall, interval, pearson, f"{item.error:.1%}", f"{item.largest_error:.1%}")


def notes(result: CorrelationResult) -> list[str]:
    """Return what the figures do not say by themselves."""
    seconds = [item.seconds for item in result.networks]
    kinds = ", ".join(
        f"{sum(item.network.drawn is drawn for item in result.networks)} {drawn}"
        for drawn in Drawn
        if any(item.network.drawn is drawn for item in result.networks)
    )
    found = [
        f"{kinds}; {format_duration(min(seconds), 3)} to {format_duration(max(seconds), 3)}, median of at least "
        f"{min(item.rounds for item in result.networks)} rounds each.",
        "mean error: of seconds, by the one factor that suits the other networks best where an estimate is no time; "
        "the table's prediction as it is.",
    ]
    if result.speed is not None and result.error_at_table_speed is not None:
        found.append(
            f"The reference graph took {result.speed:.3f}x its time in the table; with that taken out, the table's "
            f"error is {result.error_at_table_speed:.1%}."
        )
        known = [item.known_parts for item in result.networks if item.known_parts is not None]
        found.append(f"{np.mean(known):.0%} of the networks' parts have shapes that are points of the table.")
    if result.lost:
        found.append(f"{result.lost} networks were not measured.")
    return found


def draw_scatter(path: Path, result: CorrelationResult) -> Path:
    """Draw measured latency against each estimate, one panel each, as an SVG; returns its path."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

    columns = len(result.agreements)
    figure = Figure(figsize=(3.4 * columns, 3.9), layout="constrained")
    panels = figure.subplots(1, columns, sharey=True, squeeze=False)[0]
    seconds = np.array([item.seconds for item in result.networks])
    for axes, item in zip(panels, result.agreements, strict=True):
        values = np.array([network.estimates[item.estimate] for network in result.networks])
        shown = values if item.estimate is Estimate.TABLE else proportional(values, seconds)
        for drawn, (marker, color) in _MARKS.items():
            mask = np.array([network.network.drawn is drawn for network in result.networks])
            if mask.any():
                axes.plot(
                    shown[mask] * 1e3, seconds[mask] * 1e3, marker, color=color, markersize=4, alpha=0.8, label=drawn
                )
        ends = [min(shown.min(), seconds.min()) * 1e3, max(shown.max(), seconds.max()) * 1e3]
        axes.plot(ends, ends, color="black", linewidth=0.8, linestyle=":", label="as predicted")
        kendall = "-" if item.kendall is None else f"{item.kendall:.2f}"
        axes.set_title(f"{item.estimate}\nKendall {kendall}, error {item.error:.0%}", fontsize=10)
        axes.set_xscale("log")
        axes.set_yscale("log")
        for axis in (axes.xaxis, axes.yaxis):
            # Decades with their halves and fifths, written out: a range is seldom wide enough for powers of ten.
            axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axis.set_major_formatter(FormatStrFormatter("%g"))
            axis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("predicted ms")
        axes.grid(visible=True, which="both", alpha=0.2)
    panels[0].set_ylabel("measured ms")
    panels[0].legend(loc="upper left", fontsize=8)
    return write_svg(path, figure)
