"""The timing protocol on a clock that the test turns, and its statistics against NumPy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qedeploy.runtimes.timing import Samples, TimingProtocol, collect, percentile, summarize

latencies = st.lists(st.floats(1e-6, 10.0), min_size=1, max_size=400).map(np.asarray)


class Clock:
    """Time that passes only while a query runs."""

    def __init__(self, seconds: float) -> None:
        self.now = 0.0
        self.seconds = seconds
        self.queries = 0

    def __call__(self) -> float:
        return self.now

    def query(self) -> None:
        self.now += self.seconds
        self.queries += 1


def test_warm_up_is_run_and_not_counted():
    clock = Clock(0.125)
    samples = collect(clock.query, TimingProtocol(warm_up=1.0, duration=2.0, iterations=1), clock)
    assert clock.queries == 8 + 16
    assert samples.latency.tolist() == [0.125] * 16
    assert samples.elapsed == 2.0


def test_slow_queries_run_until_there_are_enough():
    clock = Clock(5.0)
    samples = collect(clock.query, TimingProtocol(warm_up=0.2, duration=3.0, iterations=10), clock)
    assert len(samples.latency) == 10


@given(latencies)
def test_summary_is_numpys(values):
    summary = summarize(Samples(latency=values, elapsed=2.0))
    assert summary.queries == len(values)
    assert summary.mean == pytest.approx(np.mean(values))
    assert summary.median == pytest.approx(np.median(values))
    assert summary.variation == pytest.approx(np.std(values) / np.mean(values), abs=1e-12)
    assert summary.minimum == values.min()
    assert summary.throughput == len(values) / 2
    assert summary.minimum <= summary.median <= summary.maximum
    assert summary.p90 <= summary.p95 <= summary.p99 <= summary.maximum


@given(latencies, st.sampled_from([90, 95, 99]))
def test_a_percentile_leaves_that_many_above(values, percent):
    found = percentile(np.sort(values), percent)
    above = np.count_nonzero(values > found)
    assert above <= len(values) * (100 - percent) / 100
    assert np.count_nonzero(values >= found) > len(values) * (100 - percent) / 100 or found == values.max()


@pytest.mark.parametrize(
    ("count", "percent", "index"), [(1, 99, 0), (10, 90, 8), (100, 90, 89), (100, 99, 98), (99, 99, 98)]
)
def test_percentiles_follow_trtexec(count, percent, index):
    assert percentile(np.arange(count, dtype=float), percent) == index


def test_a_run_is_stable_up_to_two_and_a_half_percent():
    steady = summarize(Samples(latency=np.asarray([1.0, 1.05] * 50), elapsed=1.0))
    assert steady.variation == pytest.approx(0.025 / 1.025)
    assert steady.stable()
    assert not steady.stable(0.02)
    assert not summarize(Samples(latency=np.asarray([1.0, 1.06] * 50), elapsed=1.0)).stable()
