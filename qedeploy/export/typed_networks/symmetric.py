"""Symmetric integers: zero is zero, in 8 bits for values and weights of each output channel, in 4 bits for blocks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qedeploy.export.onnx_networks.calibration import RANGE_SHARES, ValueStatistics, percentile_range, rounding_error
from qedeploy.export.onnx_networks.methods import CalibrationMethod

RoundScale = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Returns positive scales as the graph's type holds them."""

_LOWEST, _HIGHEST = -128, 127
_LOWEST_OF_FOUR, _HIGHEST_OF_FOUR = -8, 7
_BLOCK_SHARES = np.linspace(0.6, 1.0, 17)
"""Shares of a block's largest weight that become 7: a few weights cut off may leave the others finer steps."""

_SMALLEST = 1e-20


@dataclass(frozen=True, slots=True, kw_only=True)
class SymmetricGrid:
    """Numbers `scale x integer` for integers -128 to 127."""

    scale: float

    @property
    def low(self) -> float:
        """Smallest number."""
        return _LOWEST * self.scale

    @property
    def high(self) -> float:
        """Largest number."""
        return _HIGHEST * self.scale


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class IntegerWeights:
    """Weights as `integers` times `scale`, which has one number for each output channel, or (blocks, columns)."""

    integers: NDArray[np.int8]
    scale: NDArray[np.float64]


def choose_symmetric(seen: ValueStatistics, method: CalibrationMethod, round_scale: RoundScale) -> SymmetricGrid:
    """Return the grid of a value that was `seen` so."""
    low, high = seen.low, seen.high
    if not seen.constant and method is CalibrationMethod.PERCENTILE:
        low, high = percentile_range(seen)
    largest = max(abs(low), abs(high), _SMALLEST)
    if seen.constant or method is not CalibrationMethod.MSE:
        return _grid(largest, round_scale)
    return min(
        (_grid(largest * share, round_scale) for share in RANGE_SHARES), key=lambda grid: rounding_error(seen, grid)
    )


def channel_weights(weight: NDArray[np.float32], axis: int, round_scale: RoundScale) -> IntegerWeights:
    """Return `weight` in 8 bits, the largest of each output channel (on `axis`) at 127."""
    wide = weight.astype(np.float64)
    others = tuple(index for index in range(weight.ndim) if index != axis)
    scale = round_scale(_positive(np.abs(wide).max(axis=others) / _HIGHEST))
    shape = tuple(-1 if index == axis else 1 for index in range(weight.ndim))
    integers = np.clip(np.rint(wide / scale.reshape(shape)), -_HIGHEST, _HIGHEST).astype(np.int8)
    return IntegerWeights(integers=integers, scale=scale)


def block_weights(matrix: NDArray[np.float32], block: int, round_scale: RoundScale) -> IntegerWeights:
    """Return a `matrix` (inputs, outputs) in 4 bits, each `block` of a column with the scale of least error."""
    blocks = matrix.astype(np.float64).reshape(-1, block, matrix.shape[1])
    largest = np.abs(blocks).max(axis=1)
    best, least = np.ones_like(largest), np.full_like(largest, np.inf)
    for share in _BLOCK_SHARES:
        scale = round_scale(_positive(largest * share / _HIGHEST_OF_FOUR))
        error = ((_of_four(blocks, scale) * scale[:, None] - blocks) ** 2).sum(axis=1)
        best, least = np.where(error < least, scale, best), np.minimum(error, least)
    integers = _of_four(blocks, best).reshape(matrix.shape).astype(np.int8)
    return IntegerWeights(integers=integers, scale=best)


def _of_four(blocks: NDArray[np.float64], scale: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.clip(np.rint(blocks / scale[:, None]), _LOWEST_OF_FOUR, _HIGHEST_OF_FOUR)


def _grid(largest: float, round_scale: RoundScale) -> SymmetricGrid:
    return SymmetricGrid(scale=float(round_scale(np.asarray(largest / _HIGHEST))))


def _positive(scale: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(scale > _SMALLEST, scale, 1.0)
