"""What models are fed while they are timed: random values, the same ones for every runtime and the same seed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


def random_values(shape: tuple[int, ...], dtype: DTypeLike, generator: np.random.Generator) -> NDArray[Any]:
    """Return random values, none of them zero: zeros run faster and draw less power than what a network really meets.

    Floating point values are 0.05 to 2 of either sign, whole numbers 1 to 100 and booleans true.
    """
    kind = np.dtype(dtype).kind
    if kind == "f":
        sign = generator.choice((-1.0, 1.0), shape)
        return np.asarray(generator.uniform(0.05, 2.0, shape) * sign, dtype)
    if kind == "b":
        return np.ones(shape, dtype)
    return np.asarray(generator.integers(1, 101, shape), dtype)
