"""The timing protocol and what its samples say: the figures and rules that trtexec uses, so that both compare.

One query is in flight at a time. After a warm-up, queries run until both a number of iterations and a duration are
reached. Source: samples/common of github.com/NVIDIA/TensorRT.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_VARIATION = 0.025
"""Coefficient of variation over which a run counts as unstable (trtexec's limit)."""

PERCENTILE_RULE = "trtexec's rule"
"""Whose rule `percentile` follows, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingProtocol:
    """How long to measure: at least `iterations` queries and `duration` seconds, behind a warm-up (seconds)."""

    warm_up: float = 0.2
    duration: float = 3.0
    iterations: int = 10


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Samples:
    """Latency of every query in seconds, shape (queries,), in the order they ran, and the wall time of them all."""

    latency: NDArray[np.float64]
    elapsed: float

    @classmethod
    def joined(cls, parts: Iterable[Samples]) -> Samples:
        """Return the samples of several parts as one."""
        collected = list(parts)
        return cls(
            latency=np.concatenate([part.latency for part in collected]),
            elapsed=sum(part.elapsed for part in collected),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What samples say: latencies in seconds, `throughput` in queries per second.

    `variation` is the coefficient of variation, standard deviation over mean, of the latencies.
    """

    queries: int
    mean: float
    median: float
    p90: float
    p95: float
    p99: float
    minimum: float
    maximum: float
    throughput: float
    variation: float

    def stable(self, limit: float = MAX_VARIATION) -> bool:
        """Return whether the latencies vary by no more than `limit`."""
        return self.variation <= limit


def collect(
    query: Callable[[], object], protocol: TimingProtocol, clock: Callable[[], float] = time.perf_counter
) -> Samples:
    """Run `query` under `protocol`, one at a time, and return the time that each took by `clock` (seconds)."""
    latency: list[float] = []
    collecting = gc.isenabled()
    gc.disable()  # A collection inside a query would be counted as the model's time.
    try:
        end_of_warm_up = clock() + protocol.warm_up
        while clock() < end_of_warm_up:
            query()
        start = clock()
        end = start + protocol.duration
        now = start
        while now < end or len(latency) < protocol.iterations:
            before = clock()
            query()
            now = clock()
            latency.append(now - before)
        return Samples(latency=np.asarray(latency, dtype=np.float64), elapsed=now - start)
    finally:
        if collecting:
            gc.enable()


def percentile(ordered: NDArray[np.float64], percent: int) -> float:
    """Return a percentile of ascending samples by trtexec's rule, the one at index n - 1 - floor((100 - p) n / 100)."""
    count = len(ordered)
    return float(ordered[count - 1 - (100 - percent) * count // 100])


def summarize(samples: Samples) -> Summary:
    """Return the summary of at least one sample; the standard deviation is that of the samples themselves (n)."""
    ordered = np.sort(samples.latency)
    mean = float(ordered.mean())
    return Summary(
        queries=len(ordered),
        mean=mean,
        median=float(np.median(ordered)),
        p90=percentile(ordered, 90),
        p95=percentile(ordered, 95),
        p99=percentile(ordered, 99),
        minimum=float(ordered[0]),
        maximum=float(ordered[-1]),
        throughput=len(ordered) / samples.elapsed,
        variation=float(ordered.std()) / mean,
    )
