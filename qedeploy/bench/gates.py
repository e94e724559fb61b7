"""Gates for continuous integration: `p50>1.05x` fails a model that is more than 1.05 times as slow as another.

A verdict is given only where the measurement carries it: it is withheld where a run is unstable, and where the
interval of a ratio contains the limit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from qedeploy.bench.measure.interleave import Ratio
from qedeploy.errors import UserError
from qedeploy.rulings import Ruling, Verdict
from qedeploy.runtimes.timing import MAX_VARIATION, Samples, Summary, summarize
from qedeploy.units import parse_seconds

_METRICS = {
    "p50": "median", "p90": "p90", "p95": "p95", "p99": "p99", "mean": "mean", "min": "minimum",
    "throughput": "throughput",
}  # fmt: skip
_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">=": lambda value, limit: value >= limit,
    "<=": lambda value, limit: value <= limit,
    ">": lambda value, limit: value > limit,
    "<": lambda value, limit: value < limit,
}
_PATTERN = re.compile(r"\s*([a-z]+\d*)\s*(>=|<=|>|<)\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-zµ/]+)\s*")
_EXPECTED = "expected a figure, an operator and a limit, such as p50>1.05x, p99>4ms or throughput<200/s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """A condition under which a model fails. `limit` is in seconds, queries per second, or a ratio if `relative`."""

    text: str
    metric: str
    operator: str
    limit: float
    relative: bool

    def met_by(self, value: float) -> bool:
        """Return whether `value` meets the condition, which means failing the gate."""
        return _OPERATORS[self.operator](value, self.limit)

    def of(self, summary: Summary) -> float:
        """Return the gate's figure in a summary."""
        return float(getattr(summary, _METRICS[self.metric]))

    def of_samples(self, samples: Samples) -> float:
        """Return the gate's figure of one round."""
        return self.of(summarize(samples))


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingVerdict(Verdict):
    """What a gate on time decided; `ratio` where the gate compares two models."""

    ratio: Ratio | None = None


def parse_gate(text: str) -> Gate:
    """Return the gate of an expression such as `p50>1.05x`; raises UserError saying which part is not understood."""
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise UserError(f"--fail-if {text!r}: {_EXPECTED}")
    metric, operator, number, unit = match.groups()
    if metric not in _METRICS:
        raise UserError(f"--fail-if {text!r}: expected one of {', '.join(_METRICS)}, found {metric}")
    limit = float(number) if unit in ("x", "/s") else parse_seconds(number + unit, f"--fail-if {text!r}")
    if unit != "x" and (unit == "/s") != (metric == "throughput"):
        raise UserError(f"--fail-if {text!r}: {unit} is no unit of {metric}: {_EXPECTED}")
    return Gate(text=text.strip(), metric=metric, operator=operator, limit=limit, relative=unit == "x")


def judge_absolute(gate: Gate, summary: Summary, variation_limit: float = MAX_VARIATION) -> TimingVerdict:
    """Return the verdict on a figure of one model's own run."""
    if not summary.stable(variation_limit):
        return _withheld(gate, _unstable([summary.variation], variation_limit), None)
    value = gate.of(summary)
    return _decided(gate, met=gate.met_by(value), found=_figure(value, gate), ratio=None)


def judge_relative(
    gate: Gate, ratio: Ratio, summaries: Sequence[Summary], limit: float = MAX_VARIATION
) -> TimingVerdict:
    """Return the verdict on a ratio of two models, whose interleaved runs `summaries` describe."""
    if not all(summary.stable(limit) for summary in summaries):
        return _withheld(gate, _unstable([summary.variation for summary in summaries], limit), ratio)
    ends = {gate.met_by(ratio.low), gate.met_by(ratio.high)}
    if len(ends) > 1:
        reason = f"the interval of {ratio} contains the limit: measure longer with --duration"
        return _withheld(gate, reason, ratio)
    return _decided(gate, met=ends.pop(), found=f"{ratio} of the other model", ratio=ratio)


def _decided(gate: Gate, *, met: bool, found: str, ratio: Ratio | None) -> TimingVerdict:
    outcome = Ruling.FAILED if met else Ruling.PASSED
    return TimingVerdict(gate=gate.text, outcome=outcome, sentence=f"gate {gate.text} {outcome}: {found}", ratio=ratio)


def _withheld(gate: Gate, reason: str, ratio: Ratio | None) -> TimingVerdict:
    sentence = f"gate {gate.text}: verdict withheld: {reason}"
    return TimingVerdict(gate=gate.text, outcome=Ruling.WITHHELD, sentence=sentence, ratio=ratio)


def _unstable(variations: Sequence[float], limit: float) -> str:
    found = " and ".join(f"{variation:.1%}" for variation in variations)
    return f"latency varies by {found}, over {limit:.1%}: quiet the machine, or accept more with --max-variation"


def _figure(value: float, gate: Gate) -> str:
    return f"{value:.1f}/s" if gate.metric == "throughput" else f"{value * 1e3:.3f} ms"
