"""Gates: what they say, and that they say nothing where the measurement does not carry it."""

from __future__ import annotations

import numpy as np
import pytest

from qedeploy.bench.gates import TimingVerdict, judge_absolute, judge_relative, parse_gate
from qedeploy.bench.measure.interleave import ratio
from qedeploy.errors import RequestError, UserError
from qedeploy.rulings import Ruling, enforce
from qedeploy.runtimes.timing import Samples, Summary, summarize


def rounds(median: float, *, noise: float, seed: int) -> list[Samples]:
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(15):
        latency = median * (1 + noise * generator.standard_normal(50))
        found.append(Samples(latency=np.abs(latency), elapsed=float(np.abs(latency).sum())))
    return found


def relative(expression: str, own: list[Samples], other: list[Samples]) -> TimingVerdict:
    gate = parse_gate(expression)
    summaries = [summarize(Samples.joined(part)) for part in (own, other)]
    return judge_relative(gate, ratio(own, other, gate.of_samples), summaries)


def steady(median: float) -> Summary:
    return summarize(Samples.joined(rounds(median, noise=0.005, seed=0)))


@pytest.mark.parametrize(
    ("text", "metric", "operator", "limit", "is_relative"),
    [
        ("p50>1.05x", "p50", ">", 1.05, True),
        (" p99 >= 4ms ", "p99", ">=", 0.004, False),
        ("throughput<200/s", "throughput", "<", 200.0, False),
        ("throughput<=.95x", "throughput", "<=", 0.95, True),
        ("min>150us", "min", ">", 1.5e-4, False),
        ("mean>1s", "mean", ">", 1.0, False),
    ],
)
def test_expressions(text, metric, operator, limit, is_relative):
    gate = parse_gate(text)
    assert (gate.metric, gate.operator, gate.relative) == (metric, operator, is_relative)
    assert gate.limit == pytest.approx(limit)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "p50",
        "p50>",
        "p50>4",
        "p50=4ms",
        "p51>4ms",
        "4ms<p50",
        "p50>1.05x and p99>2x",
        "p50>4/s",
        "throughput<4ms",
        "p50>-1ms",
        "p50>4parsec",
    ],
)
def test_what_is_no_expression_is_named(text):
    with pytest.raises(UserError) as caught:
        parse_gate(text)
    assert "--fail-if" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_stable_and_slower_fails():
    verdict = relative("p50>1.05x", rounds(1.2, noise=0.005, seed=1), rounds(1.0, noise=0.005, seed=2))
    assert verdict.outcome is Ruling.FAILED
    assert "1.20x" in verdict.sentence


def test_stable_and_faster_passes():
    verdict = relative("p50>1.05x", rounds(0.8, noise=0.005, seed=1), rounds(1.0, noise=0.005, seed=2))
    assert verdict.outcome is Ruling.PASSED


def test_throughput_gates_turn_the_other_way():
    slow, fast = rounds(1.2, noise=0.005, seed=1), rounds(1.0, noise=0.005, seed=2)
    assert relative("throughput<0.95x", slow, fast).outcome is Ruling.FAILED
    assert relative("throughput<0.95x", fast, slow).outcome is Ruling.PASSED


def test_an_unstable_run_withholds_the_verdict():
    verdict = relative("p50>1.05x", rounds(2.0, noise=0.2, seed=1), rounds(1.0, noise=0.005, seed=2))
    assert verdict.outcome is Ruling.WITHHELD
    assert "--max-variation" in verdict.sentence


def test_a_limit_inside_the_interval_withholds_the_verdict():
    verdict = relative("p50>1x", rounds(1.0, noise=0.01, seed=1), rounds(1.0, noise=0.01, seed=2))
    assert verdict.outcome is Ruling.WITHHELD
    assert "--duration" in verdict.sentence


def test_absolute_gates():
    assert judge_absolute(parse_gate("p50>4ms"), steady(0.005)).outcome is Ruling.FAILED
    assert judge_absolute(parse_gate("p50>4ms"), steady(0.003)).outcome is Ruling.PASSED
    assert judge_absolute(parse_gate("throughput<250/s"), steady(0.005)).outcome is Ruling.FAILED
    shaky = summarize(Samples.joined(rounds(0.003, noise=0.1, seed=0)))
    assert judge_absolute(parse_gate("p50>4ms"), shaky).outcome is Ruling.WITHHELD
    assert judge_absolute(parse_gate("p50>4ms"), shaky, 0.5).outcome is Ruling.PASSED


def test_failed_and_withheld_gates_end_with_an_error():
    passed = judge_absolute(parse_gate("p50>4ms"), steady(0.003))
    failed = judge_absolute(parse_gate("p90>4ms"), steady(0.005))
    enforce([passed])
    with pytest.raises(RequestError, match="p90>4ms failed") as caught:
        enforce([passed, failed])
    assert caught.value.exit_code == 3
