"""A result on the terminal."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from qedeploy.bench.prediction.prediction import PredictedLayer, Prediction
from qedeploy.bench.report import formats
from qedeploy.bench.report.document import BenchResult, longest_layers
from qedeploy.bench.report.findings import correlation_sentences
from qedeploy.bench.report.headline import Tone, headline
from qedeploy.cli.verdicts import BAD, GOOD, PLAIN, UNSURE, print_verdict
from qedeploy.rulings import Ruling
from qedeploy.runtimes.node_names import Overhead
from qedeploy.runtimes.sections import Section
from qedeploy.screen import line
from qedeploy.words import counted

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

    from qedeploy.bench.attribution.correlation import TimeModel

    _Block = tuple[str, RenderableType]

_COLOURS = {Ruling.PASSED: "green", Ruling.FAILED: "red", Ruling.WITHHELD: "yellow"}
_STYLES = {Tone.GOOD: GOOD, Tone.BAD: BAD, Tone.UNSURE: UNSURE, Tone.PLAIN: PLAIN}
_WIDTH_OF_FILES = 140


def stdout_console() -> Console:
    """Return a console on standard output that is wide enough for the tables where nobody says how wide it is."""
    from qedeploy.screen import screen

    console = screen()
    said = console.is_terminal or "COLUMNS" in os.environ
    return console if said else screen(width=_WIDTH_OF_FILES)


def print_result(result: BenchResult, console: Console, *, verbose: bool = False) -> None:
    """Print what was measured, the most important last: all of it if `verbose`, else what most people need."""
    from rich.table import Table
    from rich.text import Text

    for title, block in _blocks(result, verbose=verbose):
        if title:
            console.print(Text(title, style="bold"))
        if isinstance(block, Table) and _natural_width(block, console) > console.width:
            # Figures before air: what does not fit is cut.
            block.padding, block.show_edge = 0, False
        console.print(block)
        console.print()
    accuracy = result.surroundings.accuracy
    if accuracy is not None:
        console.print(
            line(f"top-1 {accuracy} of {accuracy.data}; this very file, by {accuracy.runtime}"), soft_wrap=True
        )
    for finding in result.findings:
        console.print(Text(f"- {finding}"))
    for sentence in correlation_sentences(result.correlations) if verbose else ():
        console.print(Text(f"- {sentence}"))
    for warning in result.warnings:
        console.print(Text(f"warning: {warning}", style="yellow"))
    for judged in result.judged:
        console.print(Text(judged.sentence, style=_COLOURS[judged.outcome]))


def print_headline(result: BenchResult, console: Console) -> None:
    """Print the one line that a person who reads nothing else should have read."""
    said = headline(result)
    print_verdict(console, said.text, _STYLES[said.tone])


def _natural_width(table: Table, console: Console) -> int:
    from rich.measure import Measurement

    return Measurement.get(console, console.options.update(max_width=1000), table).maximum


def _blocks(result: BenchResult, *, verbose: bool) -> Iterator[_Block]:
    yield "", _headline(result)
    if result.compared:
        yield _comparison(result)
    for section in result.sections:
        if section.on_terminal:
            yield section.title, _section(section)
    if verbose:
        yield _layers(result) if result.totals else _nodes(result)
    elif result.profiled.layers:
        yield _longest(result)
    yield _parts(result)
    if result.prediction:
        yield _predicted(result.prediction)
    if verbose and result.correlations:
        yield _correlations(result)
    if verbose and result.time_model:
        yield _time_model(result.time_model)


def _headline(result: BenchResult) -> RenderableType:
    from rich.text import Text

    summary, runner = result.summary, result.runner
    state = "stable" if result.stable else "unstable"
    # A recording may have kept several in flight; what is measured here has one.
    flight = "" if runner.settings.get("source") else ", one in flight"
    settings = ", ".join(f"{key}={value}" for key, value in runner.settings.items())
    # Elsewhere than on the CPU its threads say nothing.
    threads = f"{counted(runner.threads, 'thread')}, " if runner.on_cpu else ""
    lines = (
        f"{formats.milliseconds(summary.median)} median on {runner.runtime} {runner.version} ({runner.device}), "
        f"{threads}batch {runner.batch}",
        f"mean {formats.milliseconds(summary.mean)}, p90 {formats.milliseconds(summary.p90)}, "
        f"p95 {formats.milliseconds(summary.p95)}, p99 {formats.milliseconds(summary.p99)}, "
        f"min {formats.milliseconds(summary.minimum)}",
        f"{summary.throughput:.1f} queries/s over {summary.queries} queries{flight}; "
        f"coefficient of variation {formats.percent(summary.variation)} ({state}, limit "
        f"{formats.percent(result.variation_limit)})",
        _machine(result),
        f"settings: {settings}",
    )
    text = Text(lines[0] + "\n", style="bold")
    return text.append("\n".join(lines[1:]), style="not bold")


def _machine(result: BenchResult) -> str:
    if result.runner.settings.get("source"):
        return f"machine: {result.machine.cpu}"
    known = " ".join(result.machine.instruction_sets) or "no 8-bit instruction sets known"
    return f"machine: {result.machine.cpu}, {result.machine.usable_cores} usable cores, {known}"


def _comparison(result: BenchResult) -> _Block:
    rounds = next(item.ratio.rounds for item in result.compared if item.ratio)
    table = _table(("model", "median\nms", "this model\ntakes", "nominal\nGBitOps", "executed\nGBitOps", "variation"))
    for item in result.compared:
        totals = item.totals
        table.add_row(
            item.name,
            f"{item.summary.median * 1e3:.3f}",
            formats.compared_ratio(item),
            formats.giga(totals.nominal_bitops if totals else None),
            formats.giga(totals.executed_bitops if totals else None),
            formats.percent(item.summary.variation),
        )
    title = f"In alternation, {rounds} rounds: this model's time over each other's, with the median's 95 % interval"
    return title, table


def _longest(result: BenchResult) -> _Block:
    """Return the layers that take longest; the rest is for who asks."""
    profiled = result.profiled
    rows = longest_layers(profiled.layers)
    what = "layer" if result.totals else "node"
    table = _table((what, "widths", "us", "share"))
    for row in rows:
        widths = formats.widths(row.nominal, row.executed)
        table.add_row(row.name, widths, formats.microseconds(row.seconds), formats.percent(row.share))
    title = f"Longest of {counted(len(profiled.layers), what)}, {profiled.statistic} (all: --verbose, report.html)"
    return title, table


def _layers(result: BenchResult) -> _Block:
    profiled = result.profiled
    table = _table(
        ("layer", "widths", "nominal\nGBitOps", "executed\nGBitOps", "us", "share", "GBitOps\n/s", "model\nus")
    )
    for row in profiled.layers:
        table.add_row(
            row.name,
            formats.widths(row.nominal, row.executed),
            formats.giga(row.nominal_bitops),
            formats.giga(row.executed_bitops),
            formats.microseconds(row.seconds),
            formats.percent(row.share),
            formats.giga(row.rate),
            formats.microseconds(row.modelled),
        )
    if result.totals is not None:
        seconds = profiled.layer_seconds
        table.add_section()
        table.add_row(
            "all layers",
            "",
            formats.giga(result.totals.nominal_bitops),
            formats.giga(result.totals.executed_bitops),
            formats.microseconds(seconds),
            formats.percent(seconds / profiled.whole),
            formats.giga(result.totals.executed_bitops / seconds if seconds > 0 else None),
            "",
        )
    title = (
        f"Layers, {profiled.statistic} in {profiled.queries} profiled queries; "
        "GBitOps/s = executed BitOps / time; the classifier counts MACs x widths"
    )
    return title, table


def _nodes(result: BenchResult) -> _Block:
    table = _table(("node", "runs as", "us", "share"))
    for row in result.profiled.layers:
        table.add_row(row.name, " ".join(row.nodes), formats.microseconds(row.seconds), formats.percent(row.share))
    return f"Nodes by name, {result.profiled.statistic} in {result.profiled.queries} profiled queries", table


def _parts(result: BenchResult) -> _Block:
    profiled = result.profiled
    table = _table(("part", "nodes", "us", "share"))
    rows = [("layers", sum(len(row.nodes) for row in profiled.layers), profiled.layer_seconds)]
    rows += [(part.name, len(part.nodes), part.seconds) for part in profiled.overheads]
    for name, nodes, seconds in rows:
        share = formats.percent(seconds / profiled.whole)
        table.add_row(name, str(nodes or ""), formats.microseconds(seconds), share)
    table.add_section()
    total = formats.percent(profiled.total / profiled.whole)
    table.add_row("sum", "", formats.microseconds(profiled.total), total)
    if any(part.name == Overhead.CALL for part in profiled.overheads):
        table.add_row("whole profiled query, mean", "", formats.microseconds(profiled.whole), "")
    name, beside = profiled.beside or ("median without profiler", result.summary.median)
    table.add_row(name, "", formats.microseconds(beside), "")
    return "Where the time goes", table


def _predicted(prediction: Prediction) -> _Block:
    table = _table(("whole query, then worst layers", "predicted us", "measured us", "error"))
    rows: tuple[Prediction | PredictedLayer, ...] = (prediction, *prediction.worst())
    for row in rows:
        name = row.name if isinstance(row, PredictedLayer) else "whole query"
        times = (formats.microseconds(row.predicted), formats.microseconds(row.measured))
        table.add_row(name, *times, formats.error(row.error), end_section=row is prediction)
    return f"Predicted by the latency table {prediction.table}", table


def _correlations(result: BenchResult) -> _Block:
    table = _table(("estimate", "layers", "Spearman", "Kendall"))
    for item in result.correlations:
        table.add_row(
            item.estimate, str(item.layers), formats.coefficient(item.spearman), formats.coefficient(item.kendall)
        )
    return "Estimates against measured time over the layers (rank correlation)", table


def _time_model(model: TimeModel) -> _Block:
    table = _table(("term, then worst layers", "rate, or measured us", "share, or model us"))
    for term in model.terms:
        table.add_row(term.name, formats.per_unit(term.seconds_per_unit, term.unit), formats.percent(term.share))
    table.add_section()
    for item in model.worst():
        table.add_row(item.name, formats.microseconds(item.measured), formats.microseconds(item.modelled))
    title = (
        f"Time model (non-negative least squares): R2 {model.r_squared:.2f}, "
        f"mean error {formats.percent(model.error)} of the mean layer time"
    )
    return title, table


def _section(section: Section) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in section.columns:
        table.add_column(column.title, justify="right" if column.number else "left", overflow="fold")
    for row in section.rows:
        table.add_row(*(_cut(cell, column.widest) for cell, column in zip(row, section.columns, strict=True)))
    return table


def _cut(text: str, widest: int | None) -> str:
    """Return `text`, cut in the middle where it is longer than `widest`."""
    if widest is None or len(text) <= widest:
        return text
    half = (widest - 2) // 2
    return f"{text[:half]}..{text[-half:]}"


def _table(headings: tuple[str, ...]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="left" if index == 0 else "right", no_wrap=True)
    return table
