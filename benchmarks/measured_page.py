"""The page that `measured_latency.py` writes: tables, plots, and what of the aims was reached."""

from __future__ import annotations

import argparse
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qedeploy.campaign.correlation_analysis import CorrelationResult, Estimate
from qedeploy.campaign.correlation_report import agreement_cells, notes
from qedeploy.figures import write_svg
from qedeploy.latency.predictor import LatencyModel
from qedeploy.latency.table import LatencyTable
from qedeploy.network.structure import Structure
from qedeploy.search.request import Request
from qedeploy.units import format_count, format_duration

WITHIN = 0.05
KENDALL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A structure that a search found under a limit, and what it took, at the speed of the table."""

    structure: Structure
    limit: float
    score: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The best under a latency budget, and the best under the BitOps budget that takes as long."""

    budget: float
    predicted: float
    by_latency: Candidate
    by_bitops: Candidate


def draw_searches(path: Path, pairs: Sequence[Pair]) -> Path:
    """Draw score against measured latency for both ways to search."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for label, marker, found in (
        ("best under a latency budget", "s-", [pair.by_latency for pair in pairs]),
        ("best under a BitOps budget of equal time", "^--", [pair.by_bitops for pair in pairs]),
    ):
        axes.plot([1e3 * one.seconds for one in found], [one.score for one in found], marker, label=label)
    axes.set_xlabel("measured latency, ms")
    axes.set_ylabel("QE-Score")
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    return write_svg(path, figure)


def page_name(request: Request, arguments: argparse.Namespace) -> str:
    """Return what the page and its plots are called: the profile, and the recipe where one is named."""
    profile, recipe = request.profile.name, request.recipe.name
    return profile if arguments.recipe is None else f"{profile}-{recipe}"


def page(
    request: Request,
    table: LatencyTable,
    correlation: CorrelationResult,
    pairs: Sequence[Pair],
    arguments: argparse.Namespace,
) -> str:
    """Return the page: what was measured, on what, by which command, and what of the aims was reached."""
    name = page_name(request, arguments)
    parts = (
        _introduction(request, table, correlation, arguments),
        _aims(correlation, pairs),
        _described(request, table),
        _estimates(name, correlation),
        _searches(name, pairs),
    )
    return "\n".join(line for part in parts for line in (*part, ""))


def _introduction(
    request: Request, table: LatencyTable, correlation: CorrelationResult, arguments: argparse.Namespace
) -> list[str]:
    name, machine, runtime = request.profile.name, correlation.machine, correlation.runtime
    recipe = "" if arguments.recipe is None else f" --recipe {arguments.recipe}"
    return [
        f"# Measured latency on {name}" + ("" if arguments.recipe is None else f", {arguments.recipe}"),
        "",
        "Made by one command, on a shared machine whose speed varies; every figure is a median over alternating rounds",
        "beside a reference graph, and times are those at the speed at which the table was measured. Run it on yours:",
        "",
        "```",
        f"python benchmarks/measured_latency.py --profile {name}{recipe} --minutes {arguments.minutes:g} "
        f"--networks {arguments.networks} --seed {arguments.seed}",
        "```",
        "",
        f"{machine['cpu']}, {machine['usable_cores']} cores ({', '.join(machine['instruction_sets'])}),",
        f"{runtime['name']} {runtime['version']} on {arguments.threads} thread(s), batch 1, Python "
        f"{platform.python_version()}; recipe {request.recipe.name}; table of {table.date[:10]}.",
    ]


def _aims(correlation: CorrelationResult, pairs: Sequence[Pair]) -> list[str]:
    best = next(item for item in correlation.agreements if item.estimate is Estimate.TABLE)
    nominal = next(item for item in correlation.agreements if item.estimate is Estimate.NOMINAL)
    kendall = best.kendall or 0.0
    error = best.error if correlation.error_at_table_speed is None else correlation.error_at_table_speed
    kept = [abs(pair.by_latency.seconds / pair.budget - 1) <= WITHIN for pair in pairs]
    higher = [pair.by_latency.score > pair.by_bitops.score for pair in pairs]
    rows = (
        ("Kendall of the table's prediction at least 0.95", f"{kendall:.3f}", _said(kendall >= KENDALL)),
        ("its mean error at most 5 %", f"{error:.1%} ({best.error:.1%} as measured)", _said(error <= WITHIN)),
        ("nominal BitOps beside it", f"Kendall {nominal.kendall:.3f}, error {nominal.error:.1%}", ""),
        ("searched under a latency budget: within 5 % of it", f"{sum(kept)} of {len(kept)}", _said(all(kept))),
        (
            "at equal measured time a higher score than under BitOps",
            f"{sum(higher)} of {len(higher)}",
            _said(all(higher)),
        ),
    )
    return ["## The aims", "", "| aim | measured | reached |", "|---|---|---|", *map(_cells, rows)]


def _described(request: Request, table: LatencyTable) -> list[str]:
    calibration = table.calibration
    rows = (
        (part, str(item.points), str(item.unstable), _share(item.mean), _share(item.p90))
        for part, item in LatencyModel(table, request.profile).errors().items()
    )
    error = "" if calibration.error is None else f"; each predicted from the others to {calibration.error:.1%}"
    return [
        "## The table",
        "",
        f"{len(table.points)} points, {sum(point.unstable for point in table.points)} of them unstable, and "
        f"{calibration.networks} whole networks{error}.",
        f"From parts to networks: {calibration}.",
        "Each point predicted from the others:",
        "",
        "| part | points | unstable | mean error | 90 % within |",
        "|---|---|---|---|---|",
        *map(_cells, rows),
    ]


def _estimates(name: str, correlation: CorrelationResult) -> list[str]:
    return [
        "## Estimates against whole networks",
        "",
        "| estimate | Spearman | Kendall | Kendall, 95 % | Pearson | mean error | largest |",
        "|---|---|---|---|---|---|---|",
        *(_cells(agreement_cells(item)) for item in correlation.agreements),
        "",
        *(f"- {note}" for note in notes(correlation)),
        "",
        f"![measured latency against each estimate]({name}-correlation.svg)",
    ]


def _searches(name: str, pairs: Sequence[Pair]) -> list[str]:
    headings = (
        "latency budget", "predicted", "measured", "of the budget", "score", "BitOps budget of equal time", "measured",
        "score", "score gained",
    )  # fmt: skip
    return [
        "## Searching under latency, and under BitOps",
        "",
        "For each latency budget the optimum of the space; beside it the optimum under the BitOps budget at which the",
        "network found takes as long (bisection, each step measured). The last run measured all of them together.",
        "",
        _cells(headings),
        "|---" * len(headings) + "|",
        *map(_row, pairs),
        "",
        f"![score against measured latency]({name}-searches.svg)",
    ]


def _row(pair: Pair) -> str:
    fast, few = pair.by_latency, pair.by_bitops
    cells = (
        format_duration(pair.budget, 3),
        format_duration(pair.predicted, 4),
        format_duration(fast.seconds, 4),
        f"{fast.seconds / pair.budget:.1%}",
        f"{fast.score:.2f}",
        format_count(few.limit),
        f"{format_duration(few.seconds, 4)} ({few.seconds / fast.seconds:.1%})",
        f"{few.score:.2f}",
        f"{fast.score - few.score:+.2f}",
    )
    return _cells(cells)


def _cells(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _said(reached: bool) -> str:
    return "yes" if reached else "**no**"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
