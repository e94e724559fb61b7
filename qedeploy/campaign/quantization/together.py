"""The error that each layer adds among others, learnt from sets: alone, layers say too much or too little.

Errors of layers would add up if they were independent. They are not: some make up for each other, some meet in a value
that is clipped twice. Every measured set corrects the layers in it by a common factor, a little at a time, until all
sets are met as well as they can be.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

_PASSES = 60
_STEP = 0.3
"""Power of a set's ratio of measured to summed error by which its layers are corrected in one pass."""

_MOST = 30.0
"""Factor by which a layer's own error is corrected at most, up or down: it was measured as well."""


class MeasuredSet(Protocol):
    """Several layers in the precisions beside them, and the error that they have together."""

    @property
    def precisions(self) -> Mapping[str, str]:
        """Return the precision of each of the layers."""
        ...

    @property
    def error(self) -> float:
        """Return their error together."""
        ...


def fit_errors(alone: Mapping[tuple[str, str], float], sets: Sequence[MeasuredSet]) -> dict[tuple[str, str], float]:
    """Return the error of each (layer, precision) among others, from its error `alone` and the errors of `sets`."""
    factors = dict.fromkeys(alone, 1.0)
    for _ in range(_PASSES):
        for item in sets:
            keys = list(item.precisions.items())
            summed = sum(alone[key] * factors[key] for key in keys)
            if summed <= 0 or item.error <= 0:
                continue
            correction = math.pow(item.error / summed, _STEP)
            for key in keys:
                factors[key] = min(_MOST, max(1 / _MOST, factors[key] * correction))
    return {key: max(0.0, error) * factors[key] for key, error in alone.items()}
