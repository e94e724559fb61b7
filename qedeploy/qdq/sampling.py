"""Which of many values to look at, so that those few stand for all."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

_GOLDEN = (math.sqrt(5) - 1) / 2


def spread_places(count: int, most: int) -> NDArray[np.int64]:
    """Return places, in order, of at most `most` of `count` values: all, or one in each of as many equal stretches.

    Never at the same place of every stretch: where a stretch is a multiple of a picture's width, that looks at a single
    column of it (seen: at the padding alone, and a step of a quarter of the right one). Multiples of the golden ratio
    spread the places over the stretches evenly whatever the width.
    """
    length = max(1, -(-count // most))
    stretches = np.arange(-(-count // length))
    within = (length * (stretches * _GOLDEN % 1.0)).astype(np.int64)
    places: NDArray[np.int64] = np.minimum(stretches * length + within, count - 1)
    return places
