"""What comparing a model with others says: the ratio of their times, and whether the run carries one."""

from __future__ import annotations

import math
from collections.abc import Sequence

from qedeploy.bench.measure.interleave import Ratio
from qedeploy.bench.report.document import ComparedModel, LayerRow, Totals, layers_among
from qedeploy.runtimes.timing import Summary

THIS_MODEL = "this model"
FLOAT_TWIN = "float32 twin"
W8A8_TWIN = "W8A8 twin"

_NO_MIDDLE = 0.5
"""Coefficient of variation from which a median stands for nothing."""

_SAME_TIME = 1.5
"""How many times as long the same model may take alone and in alternation before neither says how long it takes."""


def withheld_reason(alone: Summary, own: Summary, other: Summary, limit: float) -> str:
    """Return why a ratio of two models' times says nothing, "" where it does.

    `alone` and `own` are the measured model by itself and in alternation, `limit` what a stable run varies by.
    """
    runs = (own, other)
    if all(summary.stable(limit) for summary in (alone, *runs)):
        return ""
    if any(summary.variation > max(_NO_MIDDLE, limit) for summary in runs):
        found = " and ".join(f"{summary.variation:.0%}" for summary in runs)
        return f"the two vary by {found}"
    medians = sorted((alone.median, own.median))
    if medians[1] > _SAME_TIME * medians[0]:
        return (
            f"this model took {alone.median * 1e3:.3f} ms alone and {own.median * 1e3:.3f} ms in alternation: "
            "something else ran in one of the two"
        )
    return ""


def compared_findings(
    compared: Sequence[ComparedModel], rows: Sequence[LayerRow], variation_limit: float
) -> tuple[str, ...]:
    """Return what each comparison says, the first entry of `compared` being the measured model.

    What an unstable run says of time is a hint and is called one, or is withheld; counts of BitOps need no run.
    """
    found = []
    for other in compared[1:]:
        stable = compared[0].summary.stable(variation_limit) and other.summary.stable(variation_limit)
        hint = "" if stable or other.withheld else " This run was unstable: take the time as a hint."
        finding = _twin_finding(compared[0], other, rows) if other.name == W8A8_TWIN else _time_finding(other)
        doubt = f" In {other.name}, {other.doubt} Its time stands, its numbers may not." if other.doubt else ""
        found.append(finding + hint + doubt)
    return tuple(found)


def gains_nothing(compared: Sequence[ComparedModel], rows: Sequence[LayerRow]) -> bool:
    """Return whether the runtime computes the narrower widths of some layers as it would compute W8A8."""
    twin = next((item for item in compared if item.name == W8A8_TWIN), None)
    if twin is None or twin.totals is None or compared[0].totals is None:
        return False
    return carried_bits(rows)[1] > 0 and _same(compared[0].totals, twin.totals)


def carried_bits(rows: Sequence[LayerRow]) -> tuple[str, int]:
    """Return the nominal widths of the layers that execute at wider ones, in words, and how many layers those are."""
    carried = [row.nominal for row in rows if row.nominal is not None and row.nominal != row.executed]
    pairs = sorted(set(carried))
    if len(pairs) <= 3:
        return ", ".join(map(str, pairs)), len(carried)
    weights = sorted({pair.weight for pair in pairs})
    activations = sorted({pair.activation for pair in pairs})
    return f"{pairs[0]} to {pairs[-1]} (W{_span(weights)}, A{_span(activations)})", len(carried)


def _same(one: Totals, other: Totals) -> bool:
    return math.isclose(one.executed_bitops, other.executed_bitops, rel_tol=1e-9)


def _twin_finding(own: ComparedModel, twin: ComparedModel, rows: Sequence[LayerRow]) -> str:
    pairs, count = carried_bits(rows)
    if own.totals is None or twin.totals is None:
        return _time_finding(twin)
    time = f"the measured time is {_ratio_of(twin)} of the W8A8 twin's"
    if twin.withheld:
        time = f"how the times compare is withheld, since {twin.withheld}"
    if not _same(own.totals, twin.totals):
        share = own.totals.executed_bitops / twin.totals.executed_bitops
        return f"Executed BitOps are {share:.2f}x those of W8A8, and {time}."
    if not count:
        return f"Every layer is W8A8 already, as in the W8A8 twin with its random weights: {time}" + (
            "." if twin.withheld else ", which shows how far two equal models differ here."
        )
    verb = "is" if count == 1 or "," not in pairs else "are"
    gain = "The searched bits gain no arithmetic here." if twin.withheld else _gain(_ratio_of(twin))
    return (
        f"{pairs} {verb} carried in INT8 ({count} of {layers_among(rows)} layers): "
        f"executed BitOps equal those of W8A8, and {time}. {gain}"
    )


def _gain(measured: Ratio) -> str:
    if measured.low > 1:
        return "The searched bits gain no time here; keeping to their narrower range costs some."
    if measured.high < 1:
        return "The searched bits gain no arithmetic here: where this run was faster, the cause is another."
    return "The searched bits gain no time here, and no bytes: narrower weights lie in 8 bits too."


def _time_finding(other: ComparedModel) -> str:
    if other.withheld:
        return f"Against {other.name}: withheld, since {other.withheld}."
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


def _span(values: Sequence[int]) -> str:
    return str(values[0]) if values[0] == values[-1] else f"{values[0]}-{values[-1]}"
