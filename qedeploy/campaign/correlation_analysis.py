"""How well estimates predict what whole networks really take: order, proportion, and error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qedeploy.bench.attribution.correlation import correlate
from qedeploy.bench.attribution.estimates import estimate
from qedeploy.campaign.network_sampling import DrawnNetwork
from qedeploy.campaign.networks import MeasuredNetworks
from qedeploy.errors import RequestError
from qedeploy.latency.predictor import LatencyModel
from qedeploy.latency.shapes import shapes_of
from qedeploy.network.costs import layer_size_bytes
from qedeploy.network.graph import structure_graph
from qedeploy.network.layers import expand_layers
from qedeploy.network.structure import Structure
from qedeploy.profiles.profile import Profile

Array = NDArray[np.float64]

FEWEST_NETWORKS = 3
_CONFIDENCE = 0.95
_RESAMPLES = 2000


class Estimate(StrEnum):
    """What is known of a network before it runs."""

    MACS = "MACs"
    NOMINAL = "nominal BitOps"
    EXECUTED = "executed BitOps"
    BYTES = "parameter bytes"
    TABLE = "latency table"


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedNetwork:
    """A measured network: its estimates in their own units (the table's in seconds), and what it took.

    `seconds` is as measured; `spread` half the interquartile range over it. `known_parts` is the share of its parts
    whose very shapes are points of the table.
    """

    network: DrawnNetwork
    estimates: Mapping[Estimate, float]
    seconds: float
    spread: float
    rounds: int
    known_parts: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How one estimate agrees with measured seconds over networks; rank figures are None for an estimate of one value.

    `error` is the mean absolute percentage error as a share. What is no time is first made one by the single factor
    that suits the other networks best; the table's prediction is taken as it is. `interval` is that of `kendall`, by
    bootstrap at 95 %.
    """

    estimate: Estimate
    spearman: float | None
    kendall: float | None
    interval: tuple[float, float] | None
    pearson: float | None
    error: float
    largest_error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrelationResult:
    """All networks with all agreements. `speed` is how many times as long as for the table the reference graph took.

    `error_at_table_speed` is the table's error where that factor is taken out.
    """

    networks: tuple[TriedNetwork, ...]
    agreements: tuple[Agreement, ...]
    lost: int
    reference_seconds: float
    speed: float | None
    error_at_table_speed: float | None
    machine: Mapping[str, Any]
    runtime: Mapping[str, Any]


def estimates_of(structure: Structure, profile: Profile, model: LatencyModel | None) -> dict[Estimate, float]:
    """Return every estimate of one query with a network: the classifier counts, as it does in the time."""
    layers = expand_layers(structure)
    rows = estimate(structure_graph(structure), profile.executed_bits(layers))
    found = {
        Estimate.MACS: float(sum(row.macs for row in rows)),
        Estimate.NOMINAL: sum(row.nominal_bitops for row in rows),
        Estimate.EXECUTED: sum(row.executed_bitops for row in rows),
        Estimate.BYTES: sum(map(layer_size_bytes, layers)),
    }
    return found if model is None else {**found, Estimate.TABLE: model.seconds(structure_graph(structure))}


def correlated(
    drawn: Sequence[DrawnNetwork],
    measured: MeasuredNetworks,
    profile: Profile,
    model: LatencyModel | None,
    *,
    seed: int = 0,
) -> CorrelationResult:
    """Return how the estimates of `drawn` agree with what was `measured` of them, in the same order.

    Raises RequestError where fewer than three networks came back.
    """
    networks = tuple(
        TriedNetwork(
            network=network,
            estimates=estimates_of(network.structure, profile, model),
            seconds=point.seconds,
            spread=point.spread,
            rounds=point.rounds,
            known_parts=None if model is None else _known_parts(network.structure, model),
        )
        for network, point in zip(drawn, measured.points, strict=True)
        if point is not None
    )
    if len(networks) < FEWEST_NETWORKS:
        reason = f": {measured.failures[0]}" if measured.failures else ""
        raise RequestError(
            f"{len(networks)} of {len(drawn)} networks could be measured, too few to compare: expected at least "
            f"{FEWEST_NETWORKS}{reason}"
        )
    seconds = np.array([network.seconds for network in networks])
    names = [name for name in Estimate if name in networks[0].estimates]
    values = {name: np.array([network.estimates[name] for network in networks]) for name in names}
    speed = error = None
    if model is not None and model.table.reference_seconds is not None:
        speed = measured.reference_seconds / model.table.reference_seconds
        error = float(np.abs(values[Estimate.TABLE] / (seconds / speed) - 1).mean())
    return CorrelationResult(
        networks=networks,
        agreements=tuple(agreement(name, values[name], seconds, seed=seed) for name in names),
        lost=len(drawn) - len(networks),
        reference_seconds=measured.reference_seconds,
        speed=speed,
        error_at_table_speed=error,
        machine=measured.machine,
        runtime=measured.runtime,
    )


def agreement(name: Estimate, values: Array, seconds: Array, *, seed: int = 0) -> Agreement:
    """Return how `values` (networks,) agree with `seconds` (networks,)."""
    from scipy import stats

    ranks = correlate(name, values.tolist(), seconds.tolist())
    predicted = values if name is Estimate.TABLE else proportional(values, seconds)
    missed = np.abs(predicted / seconds - 1)
    constant = len(set(values.tolist())) == 1 or len(set(seconds.tolist())) == 1
    return Agreement(
        estimate=name,
        spearman=ranks.spearman,
        kendall=ranks.kendall,
        interval=None if constant else _bootstrap(values, seconds, seed),
        pearson=None if constant else float(stats.pearsonr(values, seconds).statistic),
        error=float(missed.mean()),
        largest_error=float(missed.max()),
    )


def proportional(values: Array, seconds: Array) -> Array:
    """Return seconds made of `values` by one factor, for each network the one that suits all the others best.

    The factor c of least mean |c v / s - 1| is the median of s / v, each weighed with v / s.
    """
    return np.array(
        [
            values[index] * _weighted_median(np.delete(seconds / values, index), np.delete(values / seconds, index))
            for index in range(len(values))
        ]
    )


def _weighted_median(values: Array, weights: Array) -> float:
    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(reached, reached[-1] / 2)])


def _bootstrap(values: Array, seconds: Array, seed: int) -> tuple[float, float] | None:
    from scipy import stats

    def kendall(first: Array, second: Array) -> float:
        return float(stats.kendalltau(first, second).statistic)

    drawn = np.random.default_rng(seed).integers(len(values), size=(_RESAMPLES, len(values)))
    found = np.array([kendall(values[rows], seconds[rows]) for rows in drawn])
    # A resample that repeats one network only has no order.
    tail = (1 - _CONFIDENCE) / 2
    low, high = np.nanquantile(found, (tail, 1 - tail))
    return float(low), float(high)


def _known_parts(structure: Structure, model: LatencyModel) -> float:
    points = {point.shape for point in model.table.points}
    shapes = shapes_of(structure_graph(structure), model.table.bottleneck_multiple).values()
    return sum(shape in points for shape in shapes) / len(shapes)
