"""Several models in alternating rounds, so that whatever else the machine does slows them all alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from qedeploy.runtimes.timing import Samples, TimingProtocol

ROUNDS = 15
CONFIDENCE = 0.95

_FEWEST_QUERIES = 3
"""The fewest queries of a round, so that its median is not moved by one outlier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """The ratio of one thing to another: the median over rounds, and the interval of that median.

    The interval is the sign test's (order statistics of the rounds): it holds for any distribution of the noise, at a
    level of at least `confidence`.
    """

    value: float
    low: float
    high: float
    rounds: int
    confidence: float = CONFIDENCE

    def __str__(self) -> str:
        return f"{self.value:.2f}x [{self.low:.2f}, {self.high:.2f}]"


class Measurable(Protocol):
    """What can be measured in rounds: any Runner."""

    def measure(self, protocol: TimingProtocol) -> Samples:
        """Run queries under `protocol`, one in flight, and return the latency of each."""
        ...


def interleave(
    runners: Mapping[str, Measurable],
    protocol: TimingProtocol,
    *,
    rounds: int = ROUNDS,
    progress: Callable[[int], None] = lambda _: None,
) -> dict[str, tuple[Samples, ...]]:
    """Return the samples of each runner, one entry a round; over all rounds each runner satisfies `protocol`.

    Every second round runs in the opposite order, so that a steady drift cancels. `progress` gets the rounds done.
    """
    share = TimingProtocol(
        warm_up=protocol.duration / rounds / 10,
        duration=protocol.duration / rounds,
        iterations=max(_FEWEST_QUERIES, math.ceil(protocol.iterations / rounds)),
    )
    collected: dict[str, list[Samples]] = {name: [] for name in runners}
    for number in range(rounds):
        order = list(runners)[:: 1 if number % 2 == 0 else -1]
        for name in order:
            collected[name].append(runners[name].measure(share))
        progress(number + 1)
    return {name: tuple(samples) for name, samples in collected.items()}


def ratio(
    first: Sequence[Samples], second: Sequence[Samples], figure: Callable[[Samples], float] | None = None
) -> Ratio:
    """Return the ratio of the first's `figure` (the median latency by default) to the second's, round by round."""
    of = figure or median_latency
    quotients = np.asarray([of(one) / of(other) for one, other in zip(first, second, strict=True)])
    low, high = median_interval(quotients, CONFIDENCE)
    return Ratio(value=float(np.median(quotients)), low=low, high=high, rounds=len(quotients))


def median_latency(samples: Samples) -> float:
    """Return the median latency in seconds."""
    return float(np.median(samples.latency))


def median_interval(values: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    """Return the sign test's interval of the median of `values` (n,); unbounded where n is too small for `confidence`.

    It reaches from the k-th smallest to the k-th largest value, for the largest k with
    P(Binomial(n, 1/2) < k) <= (1 - confidence) / 2.
    """
    # Imported once the measurement is over: it takes longer than a round.
    from scipy.stats import quantile_test

    interval: Any = quantile_test(values, p=0.5).confidence_interval(confidence)
    # Where no order statistic is far enough out, SciPy names none.
    return float(np.nan_to_num(interval.low, nan=-np.inf)), float(np.nan_to_num(interval.high, nan=np.inf))
