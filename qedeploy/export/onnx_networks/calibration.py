"""Ranges of values on data: their extremes, a percentile of them, or the range with the least squared rounding error.

Two passes of the float network: one for the extremes, one for histograms between them, so that memory does not grow
with the data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from qedeploy.errors import RequestError
from qedeploy.export.onnx_networks.grids import ValueGrid
from qedeploy.export.onnx_networks.methods import CalibrationMethod
from qedeploy.qdq.sampling import spread_places
from qedeploy.runtimes.registry import reference
from qedeploy.runtimes.turns import Feed

_BINS = 4096
_NUMBERS = 50_000
"""Numbers of one array that histograms are made of: the extremes are those of all."""

_PERCENTILE = 99.99
RANGE_SHARES = np.geomspace(0.2, 1.0, 40)
"""Candidates of the least squared error: these shares of the range, cut from its longer side or from both."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ValueStatistics:
    """What was seen of one value: extremes, and how many numbers fell into equal bins between them."""

    low: float
    high: float
    counts: NDArray[np.int64]

    @property
    def constant(self) -> bool:
        """Whether the value was one number."""
        return self.high <= self.low


class Steps(Protocol):
    """Numbers in equal steps of `scale` from `low` to `high`."""

    @property
    def scale(self) -> float:
        """Distance of two neighbours."""
        ...

    @property
    def low(self) -> float:
        """Smallest number."""
        ...

    @property
    def high(self) -> float:
        """Largest number."""
        ...


def observe(
    model: onnx.ModelProto,
    values: Sequence[str],
    feeds: Sequence[Feed],
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> dict[str, ValueStatistics]:
    """Return the statistics of `values`, inputs of the network included, over `feeds`.

    Raises RequestError naming a value that is not finite on the data.
    """
    inputs = {item.name for item in model.graph.input}
    made = [name for name in dict.fromkeys(values) if name not in inputs]
    evaluate = reference().evaluator(exposing(model, made).SerializeToString(), False)
    total = 2 * len(feeds)

    def passes(offset: int) -> Iterable[tuple[str, NDArray[Any]]]:
        for index, feed in enumerate(feeds):
            yield from ((name, feed[name]) for name in values if name in inputs)
            outputs = evaluate(feed) if made else {}
            yield from ((name, outputs[name]) for name in made)
            progress(offset + index + 1, total)

    lows: dict[str, float] = {}
    highs: dict[str, float] = {}
    for name, array in passes(0):
        low, high = float(np.min(array)), float(np.max(array))
        if not np.isfinite([low, high]).all():
            raise RequestError(f"value {name!r} is not finite on the data: mend the data or the model")
        lows[name], highs[name] = min(lows.get(name, low), low), max(highs.get(name, high), high)
    counts = {name: np.zeros(_BINS, np.int64) for name in lows}
    for name, array in passes(len(feeds)):
        if highs[name] > lows[name]:
            counts[name] += _histogram(array, lows[name], highs[name])
    return {name: ValueStatistics(low=lows[name], high=highs[name], counts=counts[name]) for name in lows}


def choose_grid(seen: ValueStatistics, method: CalibrationMethod, ceiling: float | None = None) -> ValueGrid:
    """Return the grid of a value that was `seen` so; `ceiling` is what a Clip behind it lets through at most."""
    low, high = seen.low, seen.high
    if not seen.constant and method is CalibrationMethod.PERCENTILE:
        low, high = percentile_range(seen)
    elif not seen.constant and method is CalibrationMethod.MSE:
        low, high = _least_error(seen)
    return ValueGrid.covering(low, high if ceiling is None else min(high, ceiling))


def exposing(model: onnx.ModelProto, values: Iterable[str]) -> onnx.ModelProto:
    """Return a copy of `model` that also returns `values`; their types are left for the runtime to infer."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    known = {item.name for item in copy.graph.output}
    copy.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in values if name not in known)
    return copy


def _histogram(array: NDArray[Any], low: float, high: float) -> NDArray[np.int64]:
    """Return how many numbers fall into each of _BINS bins, of a part of the array where it is large."""
    flat = array.reshape(-1)[spread_places(array.size, _NUMBERS)]
    bins = ((flat.astype(np.float64) - low) * (_BINS / (high - low))).astype(np.int64)
    return np.bincount(np.minimum(bins, _BINS - 1), minlength=_BINS)


def percentile_range(seen: ValueStatistics) -> tuple[float, float]:
    """Return what _PERCENTILE of the numbers lie between, cut alike from both ends."""
    edges = np.linspace(seen.low, seen.high, _BINS + 1)
    share = np.cumsum(seen.counts) / seen.counts.sum()
    cut = (1 - _PERCENTILE / 100) / 2
    low = edges[int(np.searchsorted(share, cut, side="right"))]
    high = edges[min(int(np.searchsorted(share, 1 - cut)) + 1, _BINS)]
    return (seen.low if seen.low >= 0 else float(low)), float(high)


def rounding_error(seen: ValueStatistics, grid: Steps) -> float:
    """Return the squared error of what was `seen` once it is rounded to `grid`, summed over the histogram."""
    edges = np.linspace(seen.low, seen.high, _BINS + 1)
    centres = (edges[:-1] + edges[1:]) / 2
    filled = seen.counts > 0
    numbers, weights = centres[filled], seen.counts[filled].astype(np.float64)
    inside = (numbers >= grid.low) & (numbers <= grid.high)
    clipped = np.clip(numbers[~inside], grid.low, grid.high) - numbers[~inside]
    # Within the range, rounding errors are even over a step: a bin's own width would hide them.
    return float(weights[inside].sum() * grid.scale**2 / 12 + (weights[~inside] * clipped**2).sum())


def _least_error(seen: ValueStatistics) -> tuple[float, float]:
    candidates = [
        bounds
        for share in RANGE_SHARES
        for bounds in (
            (seen.low, seen.high * share),
            (seen.low * share, seen.high),
            (seen.low * share, seen.high * share),
        )
    ]
    return min(candidates, key=lambda bounds: rounding_error(seen, ValueGrid.covering(*bounds)))
