"""What only an engine has to tell, for the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from qedeploy.bench.report import formats
from qedeploy.runtimes.tensorrt.join import EngineRow
from qedeploy.runtimes.tensorrt.report import EngineReport

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

_LONGEST_TACTIC = 44


def engine_blocks(report: EngineReport) -> Iterator[tuple[str, RenderableType]]:
    """Yield a title and a table for the times, for the clocks where they were sampled, and for the engine's layers."""
    yield "Queries of the engine", _times(report)
    if report.conditions is not None:
        yield f"The GPU meanwhile ({report.conditions.samples} samples by NVML)", _conditions(report)
    yield "Layers of the engine: what computed ours, and what else ran", _rows(report)


def runs_as(row: EngineRow) -> str:
    """Return what a row reads and writes: `int8 -> float16`, or `reformat` or `Q/DQ` in front."""
    role = "reformat " if row.reformat else "Q/DQ " if row.quantizer else ""
    if not row.input_type:
        return (role or "unknown").strip()
    return f"{role}{row.input_type} -> {row.output_type or '?'}"


def tactic(row: EngineRow) -> str:
    """Return the kernel's name, cut in the middle where it is long."""
    if len(row.tactic) <= _LONGEST_TACTIC:
        return row.tactic
    half = (_LONGEST_TACTIC - 2) // 2
    return f"{row.tactic[:half]}..{row.tactic[-half:]}"


def _times(report: EngineReport) -> Table:
    table = _table(("time", "median ms", "mean", "p90", "p95", "p99", "variation"))
    times = report.times
    for name, found in (("GPU", times.gpu), ("end to end", times.latency), ("launch", times.enqueue)):
        cells = (found.median, found.mean, found.p90, found.p95, found.p99)
        table.add_row(name, *(f"{value * 1e3:.4f}" for value in cells), formats.percent(found.variation))
    for name, copied in (("copy to the GPU", times.upload), ("copy back", times.download)):
        if copied is not None:
            table.add_row(name, f"{copied * 1e3:.4f}")
    return table


def _conditions(report: EngineReport) -> Table:
    seen = report.conditions
    if seen is None:
        raise ValueError("nothing was sampled")
    table = _table(("condition", "value"))
    limit = f" of {seen.sm_clock_limit}" if seen.sm_clock_limit else ""
    power = f" of {seen.power_limit:.0f}" if seen.power_limit else ""
    table.add_row(
        "SM clock", f"{seen.sm_clock_lowest} to {seen.sm_clock_highest}{limit} MHz, {seen.sm_clock_median} median"
    )
    table.add_row("memory clock", f"{seen.memory_clock_median} MHz")
    table.add_row("temperature", f"{seen.temperature_highest} C at most")
    table.add_row("power", f"{seen.power_mean:.1f}{power} W")
    table.add_row("clocks held down by", ", ".join(seen.reasons) or "nothing")
    table.add_row("driver", seen.driver)
    return table


def _rows(report: EngineReport) -> Table:
    table = _table(("engine layer", "ours", "runs as", "kernel", "us", "share"))
    total = report.profiled_seconds
    for row in report.rows:
        seconds = row.seconds
        share = formats.percent(seconds / total) if seconds is not None and total else formats.NONE
        shown = row.layers or (() if row.reformat else row.nodes[:1])
        table.add_row(row.kind, ", ".join(shown), runs_as(row), tactic(row), formats.microseconds(seconds), share)
    return table


def _table(headings: tuple[str, ...]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="left" if index == 0 else "right", overflow="fold")
    return table
