"""What only an engine has to tell, as tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from qedeploy.runtimes.nvidia.join import EngineRow
from qedeploy.runtimes.nvidia.nvml import GpuConditions
from qedeploy.runtimes.nvidia.times import TimeFigures
from qedeploy.runtimes.sections import Column, Section

_LONGEST_NAME = 44
"""Characters of a kernel or of a layer without a type that a terminal shows."""


def times_table(times: TimeFigures) -> Section:
    """Return what the queries took, in milliseconds."""
    rows = []
    for name, found in (("GPU", times.gpu), ("end to end", times.latency), ("launch", times.enqueue)):
        cells = (found.median, found.mean, found.p90, found.p95, found.p99)
        rows.append((name, *map(_milliseconds, cells), _percent(found.variation)))
    for name, copied in (("copy to the GPU", times.upload), ("copy back", times.download)):
        if copied is not None:
            rows.append((name, _milliseconds(copied), *[""] * 5))
    titles = ("time", "median ms", "mean", "p90", "p95", "p99", "variation")
    return Section(title="Queries of the engine", columns=_columns(titles), rows=tuple(rows))


def conditions_table(seen: GpuConditions) -> Section:
    """Return what the GPU was like while the queries ran."""
    limit = f" of {seen.sm_clock_limit}" if seen.sm_clock_limit else ""
    power = f" of {seen.power_limit:.0f}" if seen.power_limit else ""
    clocks = f"{seen.sm_clock_lowest} to {seen.sm_clock_highest}{limit} MHz, {seen.sm_clock_median} median"
    return Section(
        title=f"The GPU meanwhile ({seen.samples} samples by NVML)",
        columns=_columns(("condition", "value")),
        rows=(
            ("SM clock", clocks),
            ("memory clock", f"{seen.memory_clock_median} MHz"),
            ("temperature", f"{seen.temperature_highest} C at most"),
            ("power", f"{seen.power_mean:.1f}{power} W"),
            ("clocks held down by", ", ".join(seen.reasons) or "nothing"),
            ("driver", seen.driver),
        ),
    )


def layer_table(rows: Sequence[EngineRow], total: float) -> Section:
    """Return the engine's layers; `total` is the time in seconds that their shares are of."""
    columns = (
        Column(title="engine layer", widest=_LONGEST_NAME),
        Column(title="ours", number=True),
        Column(title="runs as", number=True),
        Column(title="kernel", number=True, widest=_LONGEST_NAME),
        Column(title="us", number=True),
        Column(title="share", number=True),
    )
    return Section(
        title="Layers of the engine: what computed ours, and what else ran",
        columns=columns,
        rows=tuple(_layer_row(row, total) for row in rows),
    )


def runs_as(row: EngineRow) -> str:
    """Return what a row reads and writes: `int8 -> float16`, or `reformat` or `Q/DQ` in front."""
    role = "reformat " if row.reformat else "Q/DQ " if row.quantizer else ""
    if not row.input_type:
        return (role or "unknown").strip()
    return f"{role}{row.input_type} -> {row.output_type or '?'}"


def _layer_row(row: EngineRow, total: float) -> tuple[str, ...]:
    seconds = row.seconds
    time = "-" if seconds is None else f"{seconds * 1e6:,.1f}"
    share = _percent(seconds / total) if seconds is not None and total else "-"
    shown = row.layers or (() if row.reformat else row.nodes[:1])
    return row.kind or row.name, ", ".join(shown), runs_as(row), row.tactic, time, share


def _columns(titles: Iterable[str]) -> tuple[Column, ...]:
    return tuple(Column(title=title, number=index > 0) for index, title in enumerate(titles))


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.4f}"


def _percent(share: float) -> str:
    return f"{share * 100:.1f} %"
