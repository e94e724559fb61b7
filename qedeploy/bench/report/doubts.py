"""What makes a measurement's figures doubtful, each with what would mend it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qedeploy.bench.measure.machine import Machine
from qedeploy.bench.report.document import ComparedModel, ProfiledPass, layers_among
from qedeploy.bench.report.origin import planned_for
from qedeploy.latency.table import competed
from qedeploy.runtimes.node_names import ONNX_NAMES, NodeNames, Overhead
from qedeploy.runtimes.products import Products
from qedeploy.runtimes.runner import RunnerDescription
from qedeploy.runtimes.timing import Summary
from qedeploy.words import listed

_FEW_QUERIES = 100
_SLOWED_BY_PROFILER = 1.25
_MUCH_INTERRUPTED = 0.1
_OTHER_MEDIAN = 1.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What the warnings look at."""

    summary: Summary
    variation_limit: float
    compared: Sequence[ComparedModel]
    machine: Machine
    runner: RunnerDescription
    profiled: ProfiledPass
    plan_runtime: str | None
    names: NodeNames = ONNX_NAMES
    damage: str = ""
    products: Products | None = None


def products_findings(seen: Circumstances) -> tuple[str, ...]:
    """Return how exact the kernels are that multiply the model's integers, where it has any and the machine decides."""
    if seen.products is None or not (seen.products.inexact or _in_integers(seen)):
        return ()
    return (f"Integer products of this machine's kernels are {seen.products.kernels}.",)


def warnings(seen: Circumstances) -> tuple[str, ...]:
    """Return what makes the figures doubtful, each with what would mend it."""
    candidates = (
        _variation_warning(seen),
        _two_medians_warning(seen),
        _few_queries_warning(seen.summary),
        _load_warning(seen.machine, seen.runner.threads),
        _governor_warning(seen.machine),
        _threads_warning(seen.machine, seen.runner.threads),
        _profiler_warning(seen.summary, seen.profiled, _crowding(seen)),
        _interruption_warning(seen.profiled, _crowding(seen)),
        _fallback_warning(seen),
        _instructions_warning(seen),
        _products_warning(seen.products),
        _dialect_warning(seen.plan_runtime, seen.runner),
        _metadata_warning(seen.plan_runtime, seen.damage),
    )
    return tuple(warning for warning in candidates if warning)


def _variation_warning(seen: Circumstances) -> str:
    runs = {"alone": seen.summary, **{f"{item.name} in alternation": item.summary for item in seen.compared}}
    unstable = [
        f"{name} {summary.variation:.1%}" for name, summary in runs.items() if not summary.stable(seen.variation_limit)
    ]
    if not unstable:
        return ""
    return (
        f"Latency is unstable: it varies (coefficient of variation) by more than {seen.variation_limit:.1%}: "
        f"{', '.join(unstable)}. Close other programs, fix the CPU frequency, or measure longer."
    )


def _two_medians_warning(seen: Circumstances) -> str:
    if not seen.compared:
        return ""
    alone, beside = seen.summary.median, seen.compared[0].summary.median
    if max(alone, beside) <= _OTHER_MEDIAN * min(alone, beside):
        return ""
    return (
        f"The same model took {alone * 1e3:.3f} ms alone and {beside * 1e3:.3f} ms in alternation (medians): "
        "other models leave the caches cold, or something else ran. Only times in alternation may be compared."
    )


def _few_queries_warning(summary: Summary) -> str:
    if summary.queries >= _FEW_QUERIES:
        return ""
    return f"p99 rests on {summary.queries} queries: it is the slowest of them; raise --duration for a real one."


def _load_warning(machine: Machine, threads: int) -> str:
    if machine.load is None or not competed(machine.load, threads, machine.usable_cores):
        return ""
    return f"Load was {machine.load:.1f} on {machine.usable_cores} cores before the run: others compete for them."


def _governor_warning(machine: Machine) -> str:
    if machine.governor in (None, "performance"):
        return ""
    return f"The CPU frequency governor is {machine.governor}: figures move with it; performance holds them still."


def _threads_warning(machine: Machine, threads: int) -> str:
    if threads <= machine.usable_cores:
        return ""
    return f"{threads} threads share {machine.usable_cores} cores: they wait for each other; lower --threads."


def _crowding(seen: Circumstances) -> str:
    """Return who else computed on the same cores: the run's own threads where there are too many of them."""
    return "the run's own threads" if seen.runner.threads > seen.machine.usable_cores else "other programs"


def _profiler_warning(summary: Summary, profiled: ProfiledPass, others: str) -> str:
    interrupted = sum(part.seconds for part in profiled.overheads if part.name == Overhead.INTERRUPTED)
    if profiled.beside is not None:
        return _recorded_profile_warning(*profiled.beside, profiled.whole - interrupted)
    times = (profiled.whole - interrupted) / summary.median
    if times > _SLOWED_BY_PROFILER:
        return (
            f"A usual profiled query took {times:.2f}x the median without a profiler: shares hold, "
            "single times are too long, most of all those of short nodes."
        )
    if times < 1 / _SLOWED_BY_PROFILER:
        return (
            f"A usual profiled query took {times:.2f}x the median without a profiler: {others} slowed the headline run."
        )
    return ""


def _recorded_profile_warning(name: str, seconds: float, profiled: float) -> str:
    times = profiled / seconds
    if 1 / _SLOWED_BY_PROFILER <= times <= _SLOWED_BY_PROFILER:
        return ""
    cause = (
        "the profiler slows short nodes most" if times > 1 else "the profile leaves out what has no layer of its own"
    )
    return (
        f"The profiled layers take {times:.2f}x the {name}: {cause}, or the two were recorded of different runs; take "
        "shares, and no single times."
    )


def _interruption_warning(profiled: ProfiledPass, others: str) -> str:
    share = sum(part.share for part in profiled.overheads if part.name == Overhead.INTERRUPTED)
    if share < _MUCH_INTERRUPTED:
        return ""
    return f"{share:.0%} of the profiled time was taken by interruptions: {others} ran on the same cores."


def _fallback_warning(seen: Circumstances) -> str:
    rows, integer = seen.profiled.layers, seen.names.integer
    if integer is None:
        return ""
    names = [
        row.name
        for row in rows
        if row.lowering == "int8" and row.nodes and not any(word in node for node in row.nodes for word in integer)
    ]
    if not names:
        return ""
    return (
        f"{len(names)} of {layers_among(rows)} layers planned as int8 ran in floating point ({listed(names)}): "
        "the Q/DQ did not fuse."
    )


def _in_integers(seen: Circumstances) -> bool:
    return any(row.lowering == "int8" for row in seen.profiled.layers)


def _products_warning(products: Products | None) -> str:
    if products is None:
        return ""
    if not products.inexact:
        return products.advice
    told = f"{products.doubt} The time is of those kernels, and an export is verified with exact ones."
    return f"{told} {products.advice}".strip()


def _instructions_warning(seen: Circumstances) -> str:
    if not seen.runner.on_cpu or seen.machine.int8_products or not _in_integers(seen):
        return ""
    return (
        "This CPU has no instructions for 8-bit dot products that qedeploy knows of: int8 gains less here than it can."
    )


def _dialect_warning(plan_runtime: str | None, runner: RunnerDescription) -> str:
    if plan_runtime is None or planned_for(plan_runtime, runner):
        return ""
    return (
        f"The file was exported for {plan_runtime} and is measured on {runner.runtime}: executed BitOps are the "
        "plan's, the time says nothing about the other runtime, and twins would say nothing here."
    )


def _metadata_warning(plan_runtime: str | None, damage: str) -> str:
    if plan_runtime is not None:
        return ""
    what = f"The file's qedeploy metadata is damaged ({damage})" if damage else "The file carries no qedeploy metadata"
    return (
        f"{what}: layers and widths are read from its graph where they can be, times are per node elsewhere, and the "
        "twins are missing. qedeploy export writes files that have it."
    )
