"""What users ask of an engine: what ran in INT8, what did not and why, what the reformats cost, what limits it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from qedeploy.qdq.metadata import ModelMetadata
from qedeploy.runtimes.nvidia.join import EngineRow, rows_of_layer
from qedeploy.runtimes.nvidia.lints import lint, why_not_int8
from qedeploy.runtimes.nvidia.nvml import GpuConditions
from qedeploy.runtimes.nvidia.tables import conditions_table, layer_table, times_table
from qedeploy.runtimes.nvidia.times import TimeFigures, time_warnings
from qedeploy.runtimes.sections import Column, RuntimeReport, Section
from qedeploy.schema import validate
from qedeploy.words import counted, listed


@dataclass(frozen=True, slots=True, kw_only=True)
class MissedLayer:
    """A layer that was planned as INT8 and does not run so, with the reason."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineReport:
    """A measured engine. Times are in seconds per query, shares of the profiled layers' sum and of all MACs.

    Shares are None where nothing is known to take them of: no profile, or no structure to count MACs by.
    """

    times: TimeFigures
    conditions: GpuConditions | None
    rows: tuple[EngineRow, ...]
    missed: tuple[MissedLayer, ...]
    reformats: int
    reformat_seconds: float
    int8_time_share: float | None
    int8_mac_share: float | None
    lints: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def profiled_seconds(self) -> float:
        """Return the sum of all layers' times."""
        return sum(row.seconds or 0.0 for row in self.rows)


def read_figures(figures: object, source: str) -> EngineReport:
    """Return the report in the `engine` of a bench.json; raises UserError naming `source` and every wrong field."""
    from pydantic import TypeAdapter

    return validate(TypeAdapter(EngineReport), figures, source)


def assemble(
    *,
    times: TimeFigures,
    rows: Sequence[EngineRow],
    metadata: ModelMetadata | None,
    dropped: Sequence[str],
    conditions: GpuConditions | None,
    notes: Sequence[str],
) -> EngineReport:
    """Return the report of an engine's rows; `dropped` are layers whose Q/DQ the build took out."""
    reformats = [row for row in rows if row.reformat]
    typed = any(row.input_type for row in rows)
    return EngineReport(
        times=times,
        conditions=conditions,
        rows=tuple(rows),
        missed=_missed(rows, metadata, dropped) if typed and metadata is not None else (),
        reformats=len(reformats),
        reformat_seconds=sum(row.seconds or 0.0 for row in reformats),
        int8_time_share=_time_share(rows) if typed else None,
        int8_mac_share=_mac_share(rows, metadata) if typed and metadata is not None else None,
        lints=lint(rows, metadata),
        notes=tuple(notes),
    )


def runtime_report(report: EngineReport, settings: Mapping[str, str]) -> RuntimeReport:
    """Return the report in the form of every runtime's; `settings` are the runner's."""
    return RuntimeReport(
        sections=engine_sections(report),
        findings=engine_findings(report),
        warnings=engine_warnings(report, settings),
        # Lists and mappings, as they come back from bench.json.
        figures=json.loads(json.dumps(asdict(report))),
    )


def engine_sections(report: EngineReport) -> tuple[Section, ...]:
    """Return the times, the clocks where they were sampled, the engine's layers, and those that missed INT8."""
    sections = [times_table(report.times)]
    if report.conditions is not None:
        sections.append(conditions_table(report.conditions))
    sections.append(layer_table(report.rows, report.profiled_seconds))
    if report.missed:
        sections.append(
            Section(
                title="Planned as INT8, running otherwise",
                columns=(Column(title="layer"), Column(title="why")),
                rows=tuple((item.name, item.reason) for item in report.missed),
                on_terminal=False,
            )
        )
    return tuple(sections)


def engine_findings(report: EngineReport) -> tuple[str, ...]:
    """Return the answers as sentences."""
    found = [
        f"GPU time {report.times.gpu.median * 1e3:.3f} ms median, launch {report.times.enqueue.median * 1e3:.3f} ms, "
        f"end to end {report.times.latency.median * 1e3:.3f} ms."
    ]
    if report.int8_time_share is not None:
        macs = "" if report.int8_mac_share is None else f" and {report.int8_mac_share:.0%} of the MACs"
        found.append(f"INT8 layers take {report.int8_time_share:.0%} of the layers' time{macs}.")
    if report.reformats and report.profiled_seconds:
        share = report.reformat_seconds / report.profiled_seconds
        found.append(
            f"{report.reformats} reformats take {report.reformat_seconds * 1e6:.1f} us, {share:.0%} of the time."
        )
    if report.missed:
        named = listed((f"{item.name}: {item.reason}" for item in report.missed), separator="; ")
        found.append(f"{counted(len(report.missed), 'layer')} planned as INT8 and not running so: {named}.")
    return (*found, *(text if text.endswith("?") else f"{text}." for text in report.lints))


def engine_warnings(report: EngineReport, settings: Mapping[str, str]) -> tuple[str, ...]:
    """Return what makes the figures doubtful; `settings` are the runner's."""
    graph = settings.get("cuda_graph")
    found = [*time_warnings(report.times, cuda_graph=None if graph is None else graph == "on"), *report.notes]
    if report.conditions is not None and report.conditions.throttled:
        found.append(f"The GPU's clocks were held down: {', '.join(report.conditions.reasons)}.")
    return tuple(found)


def _missed(rows: Sequence[EngineRow], metadata: ModelMetadata, dropped: Sequence[str]) -> tuple[MissedLayer, ...]:
    plans = {plan.name: plan for plan in metadata.plan.layers}
    found = []
    for layer in metadata.graph.layers:
        reason = why_not_int8(layer, plans[layer.name], rows_of_layer(rows, layer.name), dropped)
        if reason is not None:
            found.append(MissedLayer(name=layer.name, reason=reason))
    return tuple(found)


def _time_share(rows: Sequence[EngineRow]) -> float | None:
    total = sum(row.seconds or 0.0 for row in rows)
    if not total or _any_untold(rows):
        return None
    return sum(row.seconds or 0.0 for row in rows if row.int8 and row.layers) / total


def _any_untold(rows: Sequence[EngineRow]) -> bool:
    return any(row.layers and not row.input_type for row in rows)


def _mac_share(rows: Sequence[EngineRow], metadata: ModelMetadata) -> float | None:
    if _any_untold(rows):
        return None
    layers = metadata.graph.layers
    fast = {name for row in rows if row.int8 for name in row.layers}
    return sum(layer.macs for layer in layers if layer.name in fast) / sum(layer.macs for layer in layers)
