"""How well an estimate orders the layers' times, and which few physical terms explain them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qedeploy.bench.attribution.estimates import LayerEstimate
from qedeploy.network.layers import LayerCategory

_FEWEST_LAYERS = 3

_ROUNDING = 1e-9
"""Share of the modelled time below which a term is rounding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Correlation:
    """Rank correlation of an estimate with measured time over layers: 1 is the same order, 0 none, -1 the reverse.

    None where it is undefined: under three layers, or an estimate that is the same for all.
    """

    estimate: str
    layers: int
    spearman: float | None
    kendall: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One term of the time model: `seconds_per_unit` times an amount in `unit`, and its share of the modelled time."""

    name: str
    unit: str
    seconds_per_unit: float
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Residual:
    """A layer's time as measured and as modelled, in seconds."""

    name: str
    measured: float
    modelled: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeModel:
    """Layer times as a sum of non-negative terms, by least squares.

    `r_squared` is the explained share of the variance, `error` the mean absolute error over the mean time. `layers`
    are in execution order.
    """

    terms: tuple[Term, ...]
    r_squared: float
    error: float
    layers: tuple[Residual, ...]

    def worst(self, count: int = 5) -> tuple[Residual, ...]:
        """Return the layers that the model misses by most."""
        return tuple(sorted(self.layers, key=lambda item: -abs(item.measured - item.modelled))[:count])

    def by_layer(self) -> dict[str, float]:
        """Return the modelled time of every layer in seconds."""
        return {item.name: item.modelled for item in self.layers}


def correlate(name: str, estimates: Sequence[float], seconds: Sequence[float]) -> Correlation:
    """Return Spearman's rho and Kendall's tau-b of `estimates` against `seconds`, both (layers,)."""
    from scipy import stats

    count = len(estimates)
    if count < _FEWEST_LAYERS or len(set(estimates)) == 1 or len(set(seconds)) == 1:
        return Correlation(estimate=name, layers=count, spearman=None, kendall=None)
    return Correlation(
        estimate=name,
        layers=count,
        spearman=float(stats.spearmanr(estimates, seconds).statistic),
        kendall=float(stats.kendalltau(estimates, seconds).statistic),
    )


def fit_time_model(estimates: Sequence[LayerEstimate], seconds: Sequence[float]) -> TimeModel | None:
    """Return the model of `seconds` (layers,), or None where there are too few layers for its terms.

    Terms: executed BitOps of dense and of depthwise layers, which run at very different rates, bytes moved, and a
    constant per layer. Non-negative, because a layer that does more never takes less.
    """
    from scipy.optimize import nnls

    measured = np.asarray(seconds, dtype=np.float64)
    columns = _columns(estimates)
    if len(measured) <= len(columns):
        return None
    amounts = np.stack([amount for _, _, amount in columns], axis=1)
    # Columns differ by twelve orders of magnitude; at one scale the solver's tolerance means the same for each.
    scale = amounts.max(axis=0)
    factors = nnls(amounts / scale, measured)[0] / scale
    # What the solver leaves of an irrelevant term is rounding, and a rate computed from it would mean nothing.
    shares = amounts.sum(axis=0) * factors
    factors = np.where(shares > _ROUNDING * shares.sum(), factors, 0.0)
    modelled = amounts @ factors
    return TimeModel(
        terms=_terms(columns, factors, float(modelled.sum())),
        r_squared=_r_squared(measured, modelled),
        error=float(np.abs(measured - modelled).mean() / measured.mean()) if measured.any() else 0.0,
        layers=tuple(
            Residual(name=item.name, measured=float(time), modelled=float(model))
            for item, time, model in zip(estimates, measured, modelled, strict=True)
        ),
    )


def _columns(estimates: Sequence[LayerEstimate]) -> list[tuple[str, str, NDArray[np.float64]]]:
    depthwise = np.asarray([item.kind is LayerCategory.DEPTHWISE for item in estimates])
    bitops = np.asarray([item.executed_bitops for item in estimates])
    columns = [
        ("executed BitOps, dense layers", "BitOp", np.where(depthwise, 0.0, bitops)),
        ("executed BitOps, depthwise layers", "BitOp", np.where(depthwise, bitops, 0.0)),
        ("bytes moved", "byte", np.asarray([item.bytes_moved for item in estimates])),
        ("every layer", "layer", np.ones(len(estimates))),
    ]
    return [column for column in columns if column[2].any()]


def _terms(
    columns: Sequence[tuple[str, str, NDArray[np.float64]]], factors: NDArray[np.float64], total: float
) -> tuple[Term, ...]:
    return tuple(
        Term(
            name=name,
            unit=unit,
            seconds_per_unit=float(factor),
            share=float(amount.sum() * factor) / total if total > 0 else 0.0,
        )
        for (name, unit, amount), factor in zip(columns, factors, strict=True)
    )


def _r_squared(measured: NDArray[np.float64], modelled: NDArray[np.float64]) -> float:
    variance = float(((measured - measured.mean()) ** 2).sum())
    missed = float(((measured - modelled) ** 2).sum())
    if math.isclose(variance, 0.0, abs_tol=1e-30):
        return 1.0 if math.isclose(missed, 0.0, abs_tol=1e-30) else 0.0
    return 1.0 - missed / variance
