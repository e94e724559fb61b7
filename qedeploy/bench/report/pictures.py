"""What stands at the top of a report as bars: this model against others, and where its time goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qedeploy.bench.report import formats
from qedeploy.bench.report.comparisons import FLOAT_TWIN, THIS_MODEL, W8A8_TWIN
from qedeploy.bench.report.document import BenchResult, ComparedModel, ProfiledPass
from qedeploy.bench.report.plots import OTHER, TOGETHER, kind_of
from qedeploy.runtimes.node_names import Overhead
from qedeploy.runtimes.timing import Summary


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A bar: its name, what stands beside it, its length from 0 to 1, and the word that colours it."""

    name: str
    text: str
    length: float
    kind: str


_CALLED = {FLOAT_TWIN: "the same in float32", W8A8_TWIN: "the same in W8A8"}
_UNNAMED = {OTHER: "layers", TOGETHER: "layers that ran together"}
_OWN, _OTHERS, _OVERHEAD = "own", "others", "overhead"
_MOST_PARTS = 8


def against_others(compared: Sequence[ComparedModel]) -> tuple[Bar, ...]:
    """Return a bar of the median in alternation for each of `compared`, this model's first."""
    longest = max(item.summary.median for item in compared)
    return tuple(
        Bar(
            name=_CALLED.get(item.name, item.name),
            text=formats.milliseconds(item.summary.median) + _beside(item),
            length=item.summary.median / longest,
            kind=_OWN if item.name == THIS_MODEL else _OTHERS,
        )
        for item in compared
    )


def spread(summary: Summary) -> tuple[Bar, ...]:
    """Return bars of how long queries took, for a model that was measured alone."""
    found = {
        "fastest": summary.minimum,
        "median": summary.median,
        "90 of 100 under": summary.p90,
        "99 of 100 under": summary.p99,
    }
    longest = max(found.values())
    return tuple(
        Bar(
            name=name,
            text=formats.milliseconds(seconds),
            length=seconds / longest,
            kind=_OWN if name == "median" else _OTHERS,
        )
        for name, seconds in found.items()
    )


def parts_of_time(profiled: ProfiledPass) -> tuple[Bar, ...]:
    """Return a bar for each kind of layer and each overhead, the longest first, without interruptions by others."""
    seconds: dict[tuple[str, str], float] = {}
    for row in profiled.layers:
        if row.seconds:
            kind = kind_of(row)
            key = (_UNNAMED.get(kind) or _named(kind), kind)
            seconds[key] = seconds.get(key, 0.0) + row.seconds
    for part in profiled.overheads:
        if part.name != Overhead.INTERRUPTED and part.seconds > 0:
            seconds[part.name, _OVERHEAD] = part.seconds
    whole = sum(seconds.values())
    ordered = sorted(seconds.items(), key=lambda item: item[1], reverse=True)
    longest = ordered[0][1] if ordered else 1.0
    shown = ordered if len(ordered) <= _MOST_PARTS else ordered[: _MOST_PARTS - 1]
    bars = [
        Bar(name=name, text=formats.percent(time / whole), length=time / longest, kind=kind)
        for (name, kind), time in shown
    ]
    rest = sum(time for _, time in ordered[len(shown) :])
    if rest:
        text = formats.percent(rest / whole)
        bars.append(Bar(name="all else", text=text, length=rest / longest, kind=_OVERHEAD))
    return tuple(bars)


def interrupted_share(result: BenchResult) -> float:
    """Return the share of the profiled time that was taken by interruptions."""
    return sum(part.share for part in result.profiled.overheads if part.name == Overhead.INTERRUPTED)


def _named(kind: str) -> str:
    return kind if kind in {"stem", "head", "classifier"} else f"{kind} layers"


def _beside(item: ComparedModel) -> str:
    if item.withheld:
        return ", ratio withheld"
    return "" if item.ratio is None else f", this one {item.ratio.value:.2f}x"
