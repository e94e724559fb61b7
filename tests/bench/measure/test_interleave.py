"""Alternation and the ratio's interval: order, drift, and coverage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from qedeploy.bench.measure.interleave import interleave, median_interval, ratio
from qedeploy.runtimes.timing import Samples, TimingProtocol


class Recorder:
    """A runner that notes when it was asked and answers with a time of its own."""

    def __init__(self, name: str, log: list[str], seconds: float = 1.0) -> None:
        self.name, self.log, self.seconds, self.protocols = name, log, seconds, []

    def measure(self, protocol: TimingProtocol) -> Samples:
        self.log.append(self.name)
        self.protocols.append(protocol)
        # Every measurement of the test finds the machine a little slower than the one before it.
        drift = 1 + 0.01 * len(self.log)
        return Samples(latency=np.full(3, self.seconds * drift), elapsed=1.0)


def rounds_of(values: np.ndarray) -> list[Samples]:
    return [Samples(latency=np.atleast_1d(value), elapsed=1.0) for value in values]


def test_rounds_alternate_and_turn_around():
    log: list[str] = []
    runners = {name: Recorder(name, log) for name in "abc"}
    interleave(runners, TimingProtocol(), rounds=4)
    assert "".join(log) == "abccbaabccba"


def test_rounds_together_meet_the_protocol():
    runners = {"a": Recorder("a", [])}
    interleave(runners, TimingProtocol(duration=3.0, iterations=100), rounds=15)
    protocols = runners["a"].protocols
    assert sum(protocol.duration for protocol in protocols) == pytest.approx(3.0)
    assert sum(protocol.iterations for protocol in protocols) >= 100


def test_a_steady_drift_cancels():
    log: list[str] = []
    found = interleave({"a": Recorder("a", log, 2.0), "b": Recorder("b", log, 1.0)}, TimingProtocol(), rounds=16)
    assert ratio(found["a"], found["b"]).value == pytest.approx(2.0, rel=1e-3)


def test_the_interval_is_the_sign_tests():
    # Order statistics 4 and 12 of 15: P(Binomial(15, 1/2) <= 3) = 0.0176, one rank further in would be 0.059.
    low, high = median_interval(np.random.default_rng(0).permutation(np.arange(1.0, 16.0)), 0.95)
    assert (low, high) == (4.0, 12.0)
    assert stats.binom.cdf(3, 15, 0.5) <= 0.025 < stats.binom.cdf(4, 15, 0.5)


def test_too_few_rounds_give_no_bounds():
    assert median_interval(np.asarray([1.0, 2.0, 3.0]), 0.95) == (-np.inf, np.inf)


def test_intervals_cover_the_median_as_often_as_they_say():
    generator = np.random.default_rng(1)
    noise = generator.lognormal(0.0, 0.3, (2000, 15))
    covered = sum(low <= 1.0 <= high for low, high in (median_interval(row, 0.95) for row in noise))
    assert covered / 2000 >= 0.95


def test_ratio_of_any_figure():
    found = ratio(rounds_of(np.full(8, 3.0)), rounds_of(np.full(8, 2.0)), lambda samples: float(samples.latency.max()))
    assert (found.value, found.low, found.high, found.rounds) == (1.5, 1.5, 1.5, 8)
    assert str(found) == "1.50x [1.50, 1.50]"
