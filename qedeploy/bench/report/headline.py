"""A result in one line: what it takes, against what, whether that is what was wanted, and whether to believe it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from qedeploy.bench.report import formats
from qedeploy.bench.report.comparisons import FLOAT_TWIN, W8A8_TWIN, carried_bits, gains_nothing
from qedeploy.bench.report.document import BenchResult, ComparedModel
from qedeploy.bench.report.surroundings import BudgetUse
from qedeploy.rulings import Ruling
from qedeploy.units import format_duration
from qedeploy.words import counted, listed


class TargetVerdict(StrEnum):
    """What became of what was wanted: of gates, and of a limit on latency that the network was searched under."""

    MET = "target met"
    MISSED = "target missed"
    OPEN = "target open"
    NONE = "no target set"


class Tone(StrEnum):
    """How a headline is meant."""

    GOOD = "good"
    BAD = "bad"
    UNSURE = "unsure"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """A result in one line, `text`; `target` says what became of what was wanted."""

    text: str
    target: TargetVerdict
    tone: Tone


_COMPARED_WITH = {FLOAT_TWIN: "float32", W8A8_TWIN: "W8A8"}
_LATENCY = "latency"


def headline(result: BenchResult) -> Headline:
    """Return the one line that a person who reads nothing else should have read."""
    target, why = _target(result)
    clauses = [*_clauses(result), *_accuracy(result), *why]
    if not _steady(result):
        clauses.append("this run was unstable, do not quote it")
    return Headline(text="; ".join(clauses), target=target, tone=_tone(result, target))


def device_of(result: BenchResult) -> str:
    """Return what computed: the name of the CPU, or what the runtime calls its device."""
    return result.machine.cpu if result.runner.on_cpu else result.runner.device


def recorded(result: BenchResult) -> bool:
    """Return whether another tool measured, here or elsewhere."""
    return "source" in result.runner.settings


def title(result: BenchResult) -> str:
    """Return what a report is called: network, profile, device and day."""
    known = result.surroundings.network
    name = f"{known} ({result.model.name})" if known else result.model.name
    parts = (name, result.model.profile, device_of(result), result.created[:10])
    return " \N{MIDDLE DOT} ".join(part for part in parts if part)


def elsewhere(result: BenchResult) -> str:
    """Return for which other runtime a file was exported, "" where it ran where it was meant to."""
    meant = result.surroundings.elsewhere
    if meant is None:
        return ""
    where = "this CPU" if result.runner.on_cpu and not recorded(result) else result.runner.device
    return f"exported for {meant}, timed on {where} with {result.runner.runtime}"


def _clauses(result: BenchResult) -> Iterator[str]:
    if meant := elsewhere(result):
        yield meant
    query = f"{formats.milliseconds(result.summary.median)} a query"
    others = [item for item in result.compared[1:] if item.name != W8A8_TWIN]
    if not others:
        yield query
    for place, other in enumerate(others):
        yield _time(other) + (f" ({query})" if place == 0 else "")
    if gains_nothing(result.compared, result.profiled.layers):
        yield "narrower widths gain nothing here"
        return
    twin = next((item for item in result.compared if item.name == W8A8_TWIN), None)
    carried = carried_bits(result.profiled.layers)[1]
    if twin is not None and twin.totals != result.compared[0].totals:
        yield _time(twin)
    elif twin is None and carried:
        yield f"{counted(carried, 'layer')} run in wider widths than their own"


def _accuracy(result: BenchResult) -> tuple[str, ...]:
    known = result.surroundings.accuracy
    return () if known is None else (f"top-1 {known.top1:.2%} of {known.images:,} images",)


def _time(other: ComparedModel) -> str:
    name = _COMPARED_WITH.get(other.name, other.name)
    if other.withheld or other.ratio is None:
        return f"the time against {name} is withheld"
    if other.ratio.low <= 1 <= other.ratio.high:
        return f"no difference in time from {name} that this run can tell"
    return f"{other.ratio.value:.2f}x the time of {name}"


def _target(result: BenchResult) -> tuple[TargetVerdict, tuple[str, ...]]:
    """Return what became of what was wanted, and the clauses that say so."""
    found: list[tuple[TargetVerdict, str]] = []
    gates = {Ruling.PASSED: TargetVerdict.MET, Ruling.FAILED: TargetVerdict.MISSED, Ruling.WITHHELD: TargetVerdict.OPEN}
    for ruling, target in gates.items():
        names = [verdict.gate for verdict in result.verdicts if verdict.outcome is ruling]
        if names:
            found.append((target, f"{listed(names)} {ruling}"))
    search = result.surroundings.search
    budget = next((item for item in search.budgets if item.name == _LATENCY), None) if search else None
    if budget is not None:
        found.append(_latency_target(result, budget))
    if not found:
        return TargetVerdict.NONE, ()
    targets = {target for target, _ in found}
    worst = next(
        target for target in (TargetVerdict.MISSED, TargetVerdict.OPEN, TargetVerdict.MET) if target in targets
    )
    return worst, (f"{worst} ({', '.join(text for _, text in found)})",)


def _latency_target(result: BenchResult, budget: BudgetUse) -> tuple[TargetVerdict, str]:
    limit, median = format_duration(budget.limit), formats.milliseconds(result.summary.median)
    search = result.surroundings.search
    if result.surroundings.elsewhere or (search is not None and search.profile != result.model.profile):
        return TargetVerdict.OPEN, f"{limit} was asked for on another device"
    if not result.stable:
        return TargetVerdict.OPEN, f"{median} measured for {limit}, unstable"
    met = result.summary.median <= budget.limit
    return (TargetVerdict.MET if met else TargetVerdict.MISSED), f"{median} measured for {limit}"


def _steady(result: BenchResult) -> bool:
    limit = result.variation_limit
    return result.stable and all(item.summary.stable(limit) for item in result.compared)


def _tone(result: BenchResult, target: TargetVerdict) -> Tone:
    if target is TargetVerdict.MISSED:
        return Tone.BAD
    if target is TargetVerdict.OPEN or not _steady(result) or result.surroundings.elsewhere:
        return Tone.UNSURE
    if target is TargetVerdict.MET:
        return Tone.GOOD
    judged = [item.ratio for item in result.compared[1:] if item.ratio is not None and item.name != W8A8_TWIN]
    if judged and all(ratio.high < 1 for ratio in judged):
        return Tone.GOOD
    return Tone.BAD if any(ratio.low > 1 for ratio in judged) else Tone.PLAIN
