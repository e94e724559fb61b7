"""Grids of values: uint8 with a zero point of its own, which integer kernels of a CPU read and write."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEVELS = 255
_INT32_ROOM = 2**30
"""Largest bias in steps of its products; sums of products add to it in 32 bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueGrid:
    """Numbers `scale x (integer - zero_point)` for integers 0 to 255."""

    scale: float
    zero_point: int

    @classmethod
    def covering(cls, low: float, high: float) -> ValueGrid:
        """Return the grid from `low` to `high`, which includes zero exactly: padding and ReLU need it.

        What is never negative gets zero point 0, so that saturation is a ReLU.
        """
        low, high = min(low, 0.0), max(high, 0.0)
        span = high - low
        # Float32 has to hold the scale and its products with weight scales, well above its smallest normal number.
        if not 1e-20 < span < 1e20:
            return cls(scale=1.0, zero_point=0)
        scale = float(np.float32(span / LEVELS))
        return cls(scale=scale, zero_point=int(np.clip(np.rint(-low / scale), 0, LEVELS)))

    @classmethod
    def through(cls, low: float, high: float, point: float) -> ValueGrid:
        """Return the grid from `low` to `high` with zero and `point` on it, exactly where `point` is a step or more.

        The grid is made wider to reach `point`, and its step longer by what the remainder takes.
        """
        plain = cls.covering(min(low, point), max(high, point))
        steps = int(abs(point) / plain.scale + 1e-6)
        if steps == 0:
            return plain
        scale = abs(point) / steps
        zero_point = int(np.clip(np.rint(-min(low, point, 0.0) / scale), 0, LEVELS))
        return cls(scale=float(np.float32(scale)), zero_point=zero_point)

    @property
    def low(self) -> float:
        """Smallest number."""
        return -self.zero_point * self.scale

    @property
    def high(self) -> float:
        """Largest number."""
        return (LEVELS - self.zero_point) * self.scale

    def rounded(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return `values` as numbers of the grid."""
        integers = np.clip(np.rint(values / self.scale) + self.zero_point, 0, LEVELS)
        return np.asarray((integers - self.zero_point) * self.scale, np.float64)


def weight_scales(weight: NDArray[np.float32], axis: int, limit: int) -> NDArray[np.float32]:
    """Return the scale of each output channel with which its largest weight is `limit`; 1 for channels of zeros."""
    others = tuple(index for index in range(weight.ndim) if index != axis)
    largest = np.abs(weight.astype(np.float64)).max(axis=others)
    return np.where(largest > 1e-20, largest / limit, 1.0).astype(np.float32)


def rounded_weight(
    weight: NDArray[np.float32], axis: int, bias: NDArray[np.float32] | None, step: float, limit: int
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return the integers of a weight and the scale of each output channel; `step` is that of the layer's input."""
    scales = weight_scales(weight, axis, limit)
    if bias is not None:
        # A channel of tiny weights would put its bias beyond 32 bits: its weights get a coarser scale.
        scales = np.maximum(scales, np.abs(bias) / np.float32(step * _INT32_ROOM)).astype(np.float32)
    shape = tuple(-1 if index == axis else 1 for index in range(weight.ndim))
    return np.clip(np.rint(weight / scales.reshape(shape)), -limit, limit).astype(np.int8), scales
