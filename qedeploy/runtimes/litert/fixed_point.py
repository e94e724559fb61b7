"""LiteRT's fixed-point arithmetic, integer for integer: how its reference kernels bring sums to another scale.

A real multiplier becomes 31 bits and a power of two. The product is rounded twice, to the integers of a finer grid and
from there to the result, each time half away from zero, so that near a half the result can be one step off what
rounding once gives. Source: common.h and quantization_util.cc of LiteRT (tflite/kernels/internal).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

_FRACTION_BITS = 31


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Multiplier:
    """Real multipliers as `fraction` / 2^31 times 2^`shift`, both int64 and of one shape."""

    fraction: NDArray[np.int64]
    shift: NDArray[np.int64]

    @classmethod
    def of(cls, real: ArrayLike) -> Multiplier:
        """Return the fixed-point form of positive numbers; what is under 2^-32 becomes zero."""
        part, shift = np.frexp(np.asarray(real, np.float64))
        # Not rint: the kernels round halves away from zero.
        fraction = np.floor(part * 2.0**_FRACTION_BITS + 0.5).astype(np.int64)
        full = fraction == 2**_FRACTION_BITS
        fraction, shift = np.where(full, fraction // 2, fraction), np.where(full, shift + 1, shift).astype(np.int64)
        tiny = shift < -_FRACTION_BITS
        return cls(fraction=np.where(tiny, 0, fraction), shift=np.where(tiny, 0, shift))

    def times(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return 32-bit `values` times these multipliers, which are those of the last axis."""
        left, right = np.maximum(self.shift, 0), np.maximum(-self.shift, 0)
        return _divided_by_power(_doubled_high_product(values << left, self.fraction), right)


def _doubled_high_product(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    product = first * second
    nudged = product + np.where(product >= 0, 2**30, 1 - 2**30)
    # C++ divides towards zero.
    return np.asarray(np.sign(nudged) * (np.abs(nudged) >> _FRACTION_BITS))


def _divided_by_power(values: NDArray[np.int64], exponent: NDArray[np.int64]) -> NDArray[np.int64]:
    mask = (np.int64(1) << exponent) - 1
    threshold = (mask >> 1) + (values < 0)
    return (values >> exponent) + ((values & mask) > threshold)
