"""Seconds of one kind of part as a function of its channels and size, through the points that were measured.

A sum of non-negative physical terms (arithmetic, what is read and written, weights, the call of a kernel) gives the
trend; the factor by which the points depart from it is interpolated on logarithmic axes. Where there are few points
or none near, the terms carry alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qedeploy.latency.table import Part, TablePoint

Array = NDArray[np.float64]

_FEWEST = 6
"""Points under which no factor is interpolated: it would follow their noise."""

_SMOOTHINGS = (0.003, 0.03, 0.3, 3.0)
_FOLDS = 10
_ENOUGH = 150
_NODES_PER_OCTAVE = 3
_MOST_NODES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveError:
    """How far points are from what the others predict, as shares: mean and 90th percentile over `points`."""

    points: int
    unstable: int
    mean: float | None
    p90: float | None


class Curve:
    """One part at one kernel, stride and arithmetic."""

    def __init__(self, part: Part, points: Sequence[TablePoint]) -> None:
        self._part = part
        self._points = tuple(points)
        shapes = [point.shape for point in points]
        rows = np.array([(s.in_channels, s.out_channels, s.size) for s in shapes], np.float64)
        self._stride = shapes[0].stride
        self._rows = rows
        self._seconds = np.array([point.seconds for point in points])
        self._weights = 1.0 / (1.0 + 10.0 * np.array([point.spread for point in points]))
        self._smoothing = self._chosen_smoothing()
        self._fit = self._fitted(np.arange(len(rows)), self._smoothing)
        self._factors: dict[int, _Factor] = {}

    def seconds(self, in_channels: ArrayLike, out_channels: ArrayLike, size: int) -> Array:
        """Return seconds, positive, in the broadcast shape of the channels; `size` in pixels."""
        inputs, outputs = np.asarray(in_channels, np.float64), np.asarray(out_channels, np.float64)
        course = _terms(self._part, self._stride, inputs, outputs, float(size)) @ self._fit.coefficients
        if self._fit.factor is None:
            return np.asarray(course)
        if size not in self._factors:
            self._factors[size] = _Factor.of(self._fit, self._rows, size)
        return np.asarray(course * self._factors[size](inputs, outputs))

    @cached_property
    def error(self) -> CurveError:
        """How well the points predict each other, by cross-validation; unknown where there are too few."""
        unstable = sum(point.unstable for point in self._points)
        if len(self._points) < _FEWEST:
            return CurveError(points=len(self._points), unstable=unstable, mean=None, p90=None)
        missed = np.abs(np.expm1(self._cross_validated(self._smoothing, np.arange(len(self._points)))))
        return CurveError(
            points=len(missed), unstable=unstable, mean=float(missed.mean()), p90=float(np.quantile(missed, 0.9))
        )

    def _chosen_smoothing(self) -> float:
        if len(self._points) < _FEWEST:
            return _SMOOTHINGS[-1]
        # A choice among four needs no more points than this, and every fit takes the cube of their number.
        some = np.arange(0, len(self._points), -(-len(self._points) // _ENOUGH))
        errors = [float(np.abs(self._cross_validated(smoothing, some)).mean()) for smoothing in _SMOOTHINGS]
        return _SMOOTHINGS[int(np.argmin(errors))]

    def _cross_validated(self, smoothing: float, chosen: NDArray[np.intp]) -> Array:
        """Return ln(predicted / measured) of the chosen points, predicted from the folds that each is not in."""
        folds = np.arange(len(chosen)) % min(_FOLDS, len(chosen))
        missed = np.zeros(len(chosen))
        for fold in range(folds.max() + 1):
            out = folds == fold
            fit = self._fitted(chosen[~out], smoothing)
            missed[out] = np.log(fit(self._rows[chosen[out]]) / self._seconds[chosen[out]])
        return missed

    def _fitted(self, chosen: NDArray[np.intp], smoothing: float) -> _Fit:
        from scipy.optimize import nnls

        rows, seconds, weights = self._rows[chosen], self._seconds[chosen], self._weights[chosen]
        terms = _terms(self._part, self._stride, rows[:, 0], rows[:, 1], rows[:, 2])
        # Relative errors count: a layer of ten microseconds matters as much as one of a millisecond.
        relative = terms / seconds[:, None]
        scale = relative.max(axis=0)
        scale[scale == 0] = 1.0
        coefficients = nnls(relative / scale * weights[:, None], weights)[0] / scale
        fit = _Fit(part=self._part, stride=self._stride, coefficients=coefficients, factor=None)
        if len(rows) < _FEWEST:
            return fit
        from scipy.interpolate import RBFInterpolator

        logs = np.log2(rows)
        axes = tuple(int(axis) for axis in np.flatnonzero(np.ptp(logs, axis=0) > 0))
        if not axes:
            return fit
        factor = RBFInterpolator(
            logs[:, axes], np.log(seconds / fit(rows)), kernel="linear", smoothing=smoothing / weights, degree=0
        )
        return _Fit(
            part=self._part, stride=self._stride, coefficients=coefficients, factor=factor, axes=axes,
            low=logs.min(axis=0), high=logs.max(axis=0),
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Fit:
    """Coefficients of the terms, and the interpolated logarithm of the factor over log2 of some of (in, out, size)."""

    part: Part
    stride: int
    coefficients: Array
    factor: Callable[[Array], Array] | None
    axes: tuple[int, ...] = ()
    low: Array | None = None
    high: Array | None = None

    def __call__(self, rows: Array) -> Array:
        """Return seconds of rows (in channels, out channels, size)."""
        course = _terms(self.part, self.stride, rows[:, 0], rows[:, 1], rows[:, 2]) @ self.coefficients
        return np.asarray(course * np.exp(self.log_factor(np.log2(rows))))

    def log_factor(self, logs: Array) -> Array:
        """Return the logarithm of the factor at rows of log2 (in, out, size), held constant beyond the points."""
        if self.factor is None or self.low is None or self.high is None:
            return np.zeros(len(logs))
        return np.asarray(self.factor(np.clip(logs, self.low, self.high)[:, self.axes]))


class _Factor:
    """The factor at one size as a grid over log2 of the channels, so that arrays of millions are read quickly."""

    def __init__(self, grid: Array, origin: tuple[float, float]) -> None:
        self._grid, self._origin = grid, origin

    @classmethod
    def of(cls, fit: _Fit, rows: Array, size: int) -> _Factor:
        """Return the factor of `fit` at `size`, over the channels of `rows`."""
        axes = []
        for low, high in zip(np.log2(rows[:, :2].min(axis=0)), np.log2(rows[:, :2].max(axis=0)), strict=True):
            nodes = min(_MOST_NODES, int(np.ceil((high - low) * _NODES_PER_OCTAVE)) + 1)
            axes.append(low + np.arange(nodes) / _NODES_PER_OCTAVE)
        inputs, outputs = np.meshgrid(*axes, indexing="ij")
        logs = np.stack([inputs.ravel(), outputs.ravel(), np.full(inputs.size, np.log2(size))], axis=1)
        return cls(fit.log_factor(logs).reshape(inputs.shape), (float(axes[0][0]), float(axes[1][0])))

    def __call__(self, inputs: Array, outputs: Array) -> Array:
        """Return the factor at channels that broadcast together, linear between the nodes and constant beyond."""
        from scipy.ndimage import map_coordinates

        positions = [
            (np.log2(channels) - origin) * _NODES_PER_OCTAVE
            for channels, origin in zip((inputs, outputs), self._origin, strict=True)
        ]
        shape = np.broadcast_shapes(inputs.shape, outputs.shape)
        coordinates = np.stack([np.broadcast_to(position, shape).ravel() for position in positions])
        logs = map_coordinates(self._grid, coordinates, order=1, mode="nearest")
        return np.asarray(np.exp(logs).reshape(shape))


def _terms(part: Part, stride: int, inputs: Array, outputs: Array, size: Array | float) -> Array:
    """Return the physical terms of parts, one in the last axis each: a call, arithmetic, traffic, weights."""
    area = np.square(size)
    after = np.square(np.ceil(np.divide(size, stride)))
    one = np.ones(np.broadcast_shapes(inputs.shape, outputs.shape, np.shape(size)))
    columns: tuple[Any, ...]
    match part:
        case Part.DEPTHWISE:
            columns = (one, outputs * after, inputs * area, outputs * one)
        case Part.SHORTCUT:
            columns = (one, outputs * area, outputs * one)
        case Part.STEM:
            columns = (one, inputs * outputs * after, outputs * after, inputs * area)
        case _:
            columns = (one, inputs * outputs * after, inputs * area, outputs * after, inputs * outputs)
    return np.stack([np.broadcast_to(column, one.shape) for column in columns], axis=-1)
