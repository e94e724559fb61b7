"""What only LiteRT can tell of a run: the memory that the file takes, and where the time was not taken."""

from __future__ import annotations

import dataclasses

from qedeploy.network.costs import structure_costs
from qedeploy.runtimes.litert.memory import PlannedMemory
from qedeploy.runtimes.litert.record import LiteRTRecord
from qedeploy.runtimes.sections import Column, RuntimeReport, Section
from qedeploy.units import format_bytes


def runtime_report(record: LiteRTRecord) -> RuntimeReport:
    """Return the report of a file's record."""
    return RuntimeReport(
        sections=(memory_section(record.memory, _estimate(record)),),
        findings=(f"{record.verification}.",),
        warnings=(
            f"The time is that of this CPU, not of the board: profile {record.profile} says where the file is to run.",
        ),
        figures={
            "memory": dataclasses.asdict(record.memory),
            "verification": dataclasses.asdict(record.verification),
        },
    )


def _estimate(record: LiteRTRecord) -> float | None:
    return None if record.structure is None else structure_costs(record.structure).peak_memory_bytes


def memory_section(memory: PlannedMemory, estimate: float | None) -> Section:
    """Return flash and SRAM as a table; `estimate` is the peak memory that the search counted, in bytes."""
    rows = (
        ("flash", memory.flash, "the whole file"),
        ("", memory.weights, "weights"),
        ("", memory.biases, "biases"),
        ("", memory.quantization, "scales and zero points"),
        ("", memory.graph, "graph"),
        ("SRAM", memory.sram, "what follows from the network; runtime, stack and program come on top"),
        ("", memory.arena, f"tensors and kernels' buffers as planned; most live at {memory.fullest}"),
        ("", memory.tensors_only, "of these the tensors, planned alone"),
        ("", memory.multipliers, "multipliers that kernels keep for each channel"),
        *(() if estimate is None else (("search", estimate, "its peak memory, with depthwise layers done in place"),)),
    )
    return Section(
        title="memory on a microcontroller",
        columns=(Column(title="memory"), Column(title="size", number=True), Column(title="what")),
        rows=tuple((kind, format_bytes(size), what) for kind, size, what in rows),
    )
