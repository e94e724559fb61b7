"""How a value's range is chosen from data."""

from __future__ import annotations

from enum import StrEnum


class CalibrationMethod(StrEnum):
    """The extremes, all but a few of the numbers, or the range with the least squared rounding error."""

    MIN_MAX = "min-max"
    PERCENTILE = "percentile"
    MSE = "mse"
