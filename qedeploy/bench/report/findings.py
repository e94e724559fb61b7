"""What a result means, in sentences: what the bits gained, where the time went, and what makes a figure doubtful."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from qedeploy.bench.attribution.correlation import Correlation
from qedeploy.bench.measure.interleave import Ratio
from qedeploy.bench.measure.machine import Machine
from qedeploy.bench.report.document import ComparedModel, LayerRow, ProfiledPass
from qedeploy.runtimes.node_names import ONNX_NAMES, NodeNames, Overhead
from qedeploy.runtimes.products import Products
from qedeploy.runtimes.registry import runtimes
from qedeploy.runtimes.runner import RunnerDescription
from qedeploy.runtimes.timing import Summary
from qedeploy.words import counted, listed

THIS_MODEL = "this model"
FLOAT_TWIN = "float32 twin"
W8A8_TWIN = "W8A8 twin"

_FEW_QUERIES = 100
_SLOWED_BY_PROFILER = 1.25
_MUCH_INTERRUPTED = 0.1


def compared_findings(
    compared: Sequence[ComparedModel], rows: Sequence[LayerRow], variation_limit: float
) -> tuple[str, ...]:
    """Return what each comparison says, the first entry of `compared` being the measured model.

    What an unstable run says of time is a hint and is called one; counts of BitOps need no run.
    """
    found = []
    for other in compared[1:]:
        stable = compared[0].summary.stable(variation_limit) and other.summary.stable(variation_limit)
        hint = "" if stable else " This run was unstable: take the time as a hint."
        finding = _twin_finding(compared[0], other, rows) if other.name == W8A8_TWIN else _time_finding(other)
        doubt = f" In {other.name}, {other.doubt} Its time stands, its numbers may not." if other.doubt else ""
        found.append(finding + hint + doubt)
    return tuple(found)


def profile_findings(profiled: ProfiledPass, correlations: Sequence[Correlation]) -> tuple[str, ...]:
    """Return where the time went, and how well BitOps foretell it."""
    rows = profiled.layers
    untimed = len(profiled.untimed)
    own = [part for part in profiled.overheads if part.name != Overhead.INTERRUPTED]
    usual = profiled.layer_seconds + sum(part.seconds for part in own)
    largest = max(own, key=lambda part: part.seconds)
    found = []
    if usual > 0 and largest.seconds > 0:
        found.append(
            f"{1 - profiled.layer_seconds / usual:.0%} of the usual time is spent outside the layers, "
            f"most of it on {largest.name} ({largest.seconds / usual:.0%})."
        )
    for correlation in correlations:
        if correlation.kendall is not None and correlation.spearman is not None:
            found.append(
                f"{correlation.estimate} order the times of {correlation.layers} layers with Kendall's tau "
                f"{correlation.kendall:.2f} and Spearman's rho {correlation.spearman:.2f} (1 would be perfect)."
            )
    if profiled.untimed and any(row.kind for row in rows):
        found.append(
            f"{counted(untimed, 'layer')} of {_layers_among(rows)} "
            f"{'has' if untimed == 1 else 'have'} no time of {'its' if untimed == 1 else 'their'} own "
            f"({listed(profiled.untimed)}): correlations and rates leave {'it' if untimed == 1 else 'them'} out."
        )
    rates = {kind: rate for kind in ("pointwise", "depthwise") if (rate := _rate_of(rows, kind))}
    if len(rates) == 2:
        times = rates["pointwise"] / rates["depthwise"]
        found.append(
            f"Depthwise layers run at {rates['depthwise'] / 1e9:,.0f} executed GBitOps/s, pointwise ones at "
            f"{rates['pointwise'] / 1e9:,.0f}: {times:.1f} times the rate, which no count of BitOps shows."
        )
    return tuple(found)


def products_findings(seen: Circumstances) -> tuple[str, ...]:
    """Return how exact the kernels are that multiply the model's integers, where it has any and the machine decides."""
    if seen.products is None or not (seen.products.inexact or _in_integers(seen)):
        return ()
    return (f"Integer products of this machine's kernels are {seen.products.kernels}.",)


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


def warnings(seen: Circumstances) -> tuple[str, ...]:
    """Return what makes the figures doubtful, each with what would mend it."""
    candidates = (
        _variation_warning(seen),
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


def planned_for(plan_runtime: str, runner: RunnerDescription) -> bool:
    """Return whether a lowering plan was made for the runtime that measures."""
    return any(runtime.name == plan_runtime and runtime.label == runner.runtime for runtime in runtimes())


def carried_bits(rows: Sequence[LayerRow]) -> tuple[str, int]:
    """Return the nominal widths of the layers that execute at wider ones, in words, and how many layers those are."""
    carried = [row.nominal for row in rows if row.nominal is not None and row.nominal != row.executed]
    pairs = sorted(set(carried))
    if len(pairs) <= 3:
        return ", ".join(map(str, pairs)), len(carried)
    weights = sorted({pair.weight for pair in pairs})
    activations = sorted({pair.activation for pair in pairs})
    return f"{pairs[0]} to {pairs[-1]} (W{_span(weights)}, A{_span(activations)})", len(carried)


def _twin_finding(own: ComparedModel, twin: ComparedModel, rows: Sequence[LayerRow]) -> str:
    measured = _ratio_of(twin)
    pairs, count = carried_bits(rows)
    if own.totals is None or twin.totals is None:
        return _time_finding(twin)
    if not math.isclose(own.totals.executed_bitops, twin.totals.executed_bitops, rel_tol=1e-9):
        share = own.totals.executed_bitops / twin.totals.executed_bitops
        return (
            f"Executed BitOps are {share:.2f}x those of W8A8, and the measured time is {measured} of the W8A8 twin's."
        )
    if not count:
        return (
            f"Every layer is W8A8 already: the measured time is {measured} of a W8A8 twin with random weights, "
            "which shows how far two equal models differ here."
        )
    verb = "is" if count == 1 or "," not in pairs else "are"
    return (
        f"{pairs} {verb} carried in INT8 ({count} of {_layers_among(rows)} layers): "
        f"executed BitOps equal those of W8A8, and the measured time is {measured} of the W8A8 twin's. "
        f"{_gain(measured)}"
    )


def _gain(measured: Ratio) -> str:
    if measured.low > 1:
        return "The searched bits gain no time here; keeping to their narrower range costs some."
    if measured.high < 1:
        return "The searched bits gain no arithmetic here: where this run was faster, the cause is another."
    return "The searched bits gain no time here, and no bytes: narrower weights lie in 8 bits too."


def _time_finding(other: ComparedModel) -> str:
    measured = _ratio_of(other)
    if measured.low <= 1 <= measured.high:
        verdict = "no difference that this run can tell"
    else:
        factor = measured.value if measured.value >= 1 else 1 / measured.value
        verdict = f"{factor:.2f} times as {'slow' if measured.value >= 1 else 'fast'}"
    return f"Against {other.name}: {measured} of its time, {verdict}."


def _ratio_of(item: ComparedModel) -> Ratio:
    if item.ratio is None:
        raise ValueError(f"{item.name} has not been compared")
    return item.ratio


def _layers_among(rows: Sequence[LayerRow]) -> int:
    return sum(not row.layers for row in rows)


def _span(values: Sequence[int]) -> str:
    return str(values[0]) if values[0] == values[-1] else f"{values[0]}-{values[-1]}"


def _rate_of(rows: Sequence[LayerRow], kind: str) -> float:
    chosen = [row for row in rows if row.kind == kind and row.executed_bitops is not None and row.seconds is not None]
    seconds = sum(row.seconds or 0.0 for row in chosen)
    return sum(row.executed_bitops or 0.0 for row in chosen) / seconds if seconds > 0 else 0.0


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


def _few_queries_warning(summary: Summary) -> str:
    if summary.queries >= _FEW_QUERIES:
        return ""
    return f"p99 rests on {summary.queries} queries: it is the slowest of them; raise --duration for a real one."


def _load_warning(machine: Machine, threads: int) -> str:
    if machine.load is None or machine.load + threads <= machine.usable_cores + 0.5:
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
        f"{len(names)} of {_layers_among(rows)} layers planned as int8 ran in floating point ({listed(names)}): "
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
