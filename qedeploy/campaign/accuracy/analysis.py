"""How well what is known before training orders accuracy, and how well anything could, by the noise of seeds."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qedeploy.campaign.accuracy.arms import Arm
from qedeploy.campaign.accuracy.estimates import Known
from qedeploy.campaign.accuracy.training import Failed, Trained
from qedeploy.network.structure import Structure

Array = NDArray[np.float64]

FEWEST_NETWORKS = 3
CONFIDENCE = 0.95
RESAMPLES = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:+.2f} [{self.low:+.2f}, {self.high:+.2f}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmNetwork:
    """A network of an arm: what was known of it, and its share of test pictures right, of each seed that came back."""

    structure: Structure
    known: Mapping[Known, float]
    trained: tuple[Trained, ...]

    @property
    def top1(self) -> float:
        """The mean share over the seeds."""
        return float(np.mean([one.top1 for one in self.trained]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordering:
    """How a figure orders accuracy: Kendall's tau-b, its interval by bootstrap over networks, and Spearman's rho.

    `score_above` is by how much the score's Kendall exceeds it, on the same resampled networks, None for the score
    itself. All are None for a figure that is the same for all networks.
    """

    known: Known
    kendall: Interval | None
    spearman: float | None
    score_above: Interval | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """What seeds alone do: the standard deviation of one training's top-1, as a share.

    `ceiling` is the Kendall that a figure which knew the true accuracy of every network would reach on means of so few
    seeds, `repeat` that of one seed's order with another's.
    """

    deviation: float
    ceiling: Interval
    repeat: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmResult:
    """What one arm says. `lost` counts networks none of whose trainings came to an end, `failures` are those trainings.

    `halfway` is Kendall's tau-b between the orders by held-out pictures at half of the epochs with quantizers and at
    their end: near 1 where more epochs change nothing. `noise` is None with one seed.
    """

    arm: Arm
    networks: tuple[ArmNetwork, ...]
    orders: tuple[Ordering, ...]
    noise: Noise | None
    halfway: float | None
    lost: int
    failures: tuple[Failed, ...]

    def order(self, known: Known) -> Ordering:
        """Return the order by one figure."""
        return next(item for item in self.orders if item.known is known)


def analysed(
    arm: Arm, networks: Sequence[ArmNetwork], failures: Sequence[Failed], lost: int, *, seed: int = 0
) -> ArmResult:
    """Return what the networks of an arm say, three or more of them; `seed` is that of the resampling."""
    top1 = np.array([network.top1 for network in networks])
    values = {known: np.array([network.known[known] for network in networks]) for known in networks[0].known}
    return ArmResult(
        arm=arm,
        networks=tuple(networks),
        orders=_orders(values, top1, np.random.default_rng([seed, 0])),
        noise=_noise(networks, top1, np.random.default_rng([seed, 1])),
        halfway=_halfway(networks),
        lost=lost,
        failures=tuple(failures),
    )


def kendall(first: Array, second: Array) -> float:
    """Return Kendall's tau-b of two rows of figures; NaN where one of them is the same throughout."""
    return _tau(_signs(first), _signs(second))


def _signs(values: Array) -> Array:
    """Return the sign of every difference, (count, count)."""
    return np.sign(values[:, None] - values[None, :])


def _tau(first: Array, second: Array) -> float:
    pairs = float(np.abs(first).sum() * np.abs(second).sum())
    return float((first * second).sum() / np.sqrt(pairs)) if pairs else float("nan")


def _orders(values: Mapping[Known, Array], top1: Array, random: np.random.Generator) -> tuple[Ordering, ...]:
    from scipy import stats

    signs, right = {known: _signs(found) for known, found in values.items()}, _signs(top1)
    drawn = random.integers(len(top1), size=(RESAMPLES, len(top1)))
    resampled = {
        known: np.array([_tau(found[np.ix_(rows, rows)], right[np.ix_(rows, rows)]) for rows in drawn])
        for known, found in signs.items()
    }
    found = []
    for known, figures in values.items():
        tau = _tau(signs[known], right)
        if np.isnan(tau):
            found.append(Ordering(known=known, kendall=None, spearman=None, score_above=None))
            continue
        above = None
        if known is not Known.SCORE and not np.isnan(score := _tau(signs[Known.SCORE], right)):
            above = _interval(score - tau, resampled[Known.SCORE] - resampled[known])
        found.append(
            Ordering(
                known=known,
                kendall=_interval(tau, resampled[known]),
                spearman=float(stats.spearmanr(figures, top1).statistic),
                score_above=above,
            )
        )
    return tuple(found)


def _noise(networks: Sequence[ArmNetwork], top1: Array, random: np.random.Generator) -> Noise | None:
    """Return what seeds alone do, None where no network was trained with two."""
    shares = [np.array([one.top1 for one in network.trained]) for network in networks]
    freedom = sum(len(found) - 1 for found in shares)
    if not freedom:
        return None
    variance = sum(float(((found - found.mean()) ** 2).sum()) for found in shares) / freedom
    of_means = np.sqrt(variance / np.array([len(found) for found in shares]))
    # The means spread by what the networks are and by the noise; the former is what is left of it without the latter.
    spread = float(top1.var(ddof=1))
    kept = max(0.0, 1 - float((of_means**2).mean()) / spread) if spread else 0.0
    true = top1.mean() + np.sqrt(kept) * (top1 - top1.mean())
    reached = np.array([kendall(true, true + random.normal(0, of_means)) for _ in range(RESAMPLES)])
    return Noise(
        deviation=float(np.sqrt(variance)),
        ceiling=_interval(float(np.nan_to_num(reached).mean()), np.nan_to_num(reached)),
        repeat=_repeat(networks),
    )


def _repeat(networks: Sequence[ArmNetwork]) -> float:
    """Return the mean Kendall of the orders of any two seeds, over the networks that both have."""
    by_seed: dict[int, dict[int, float]] = {}
    for place, network in enumerate(networks):
        for one in network.trained:
            by_seed.setdefault(one.seed, {})[place] = one.top1
    found = []
    for first, second in itertools.combinations(by_seed.values(), 2):
        both = sorted(first.keys() & second.keys())
        if len(both) > 1:
            found.append(kendall(np.array([first[one] for one in both]), np.array([second[one] for one in both])))
    return float(np.nanmean(found)) if found and not np.isnan(found).all() else float("nan")


def _halfway(networks: Sequence[ArmNetwork]) -> float | None:
    curves = [[one.curve for one in network.trained] for network in networks]
    if any(len(curve) < 2 for curves_of_one in curves for curve in curves_of_one):
        return None
    half = np.array([np.mean([_at_half(curve) for curve in found]) for found in curves])
    end = np.array([np.mean([curve[-1][1] for curve in found]) for found in curves])
    tau = kendall(half, end)
    return None if np.isnan(tau) else tau


def _at_half(curve: Sequence[tuple[float, float]]) -> float:
    middle = curve[-1][0] / 2
    return min(curve[:-1], key=lambda row: abs(row[0] - middle))[1]


def _interval(value: float, resampled: Array) -> Interval:
    # A resample that repeats one network only has no order.
    tail = (1 - CONFIDENCE) / 2
    low, high = np.nanquantile(resampled, (tail, 1 - tail))
    return Interval(value=value, low=float(low), high=float(high))
