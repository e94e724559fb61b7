"""Accuracy as a count with its uncertainty: intervals of a share, and of the difference of two models on one set."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qedeploy.train.class_report import ClassAccuracy
from qedeploy.train.predictions import Predictions

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """`right` of `count` images, with the 95 % Wilson interval from `low` to `high`."""

    right: int
    count: int
    low: float
    high: float

    @property
    def value(self) -> float:
        """The share itself, from 0 to 1."""
        return self.right / self.count

    def __str__(self) -> str:
        return f"{self.value:.2%} [{self.low:.2%}, {self.high:.2%}] of {self.count:,} images"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The top-1 of one model less another's on the same images, with a 95 % interval for paired answers.

    `only_first` and `only_second` count images that just one of the two has right; `p_value` is that of the exact
    McNemar test.
    """

    value: float
    low: float
    high: float
    only_first: int
    only_second: int
    count: int
    p_value: float

    def against(self, other: str) -> str:
        """Return the whole finding in words: `0.40 points below other.pth, 95 % interval [0.10, 0.70], 10,000 images`.

        The interval counts in the direction that is named.
        """
        sign = -1 if self.value < 0 else 1
        low, high = sorted(100 * sign * end for end in (self.low, self.high))
        found = f"{100 * sign * self.value:.2f} points {'below' if sign < 0 else 'above'} {other}"
        if not self.value:
            found = f"as often right as {other}"
        return f"{found}, {100 * CONFIDENCE:.0f} % interval [{low:.2f}, {high:.2f}], {self.count:,} images"

    def __str__(self) -> str:
        return self.against("the other")


def share(right: int, count: int) -> Share:
    """Return a share with its Wilson interval; raises ValueError without any image."""
    from scipy.stats import binomtest

    if count < 1:
        raise ValueError("no images, no share")
    interval = binomtest(right, count).proportion_ci(CONFIDENCE, method="wilson")
    return Share(right=right, count=count, low=float(interval.low), high=float(interval.high))


def top(predictions: Predictions, most: int) -> Share:
    """Return the share of images whose class is among the first `most` answers."""
    return share(int((predictions.rank < most).sum()), len(predictions.labels))


def difference(first: Predictions, second: Predictions) -> Difference:
    """Return how much more often `first` is right than `second`, both on the same images.

    The interval is Agresti and Min's for paired proportions (Statistics in Medicine 24, 2005): Wald's after half an
    image was added to each of the four counts, which keeps its promise for few discordant pairs too. Raises ValueError
    where the labels are not the same.
    """
    from scipy.stats import binomtest, norm

    if not np.array_equal(first.labels, second.labels):
        raise ValueError("the two models answered for other images")
    ours, theirs = first.rank == 0, second.rank == 0
    only_first, only_second, count = int((ours & ~theirs).sum()), int((~ours & theirs).sum()), len(ours)
    plus, minus, total = only_first + 0.5, only_second + 0.5, count + 2
    middle = (plus - minus) / total
    deviation = math.sqrt(max(0.0, (plus + minus) - (plus - minus) ** 2 / total)) / total
    reach = float(norm.ppf(0.5 + CONFIDENCE / 2)) * deviation
    discordant = only_first + only_second
    return Difference(
        value=(only_first - only_second) / count,
        low=middle - reach,
        high=middle + reach,
        only_first=only_first,
        only_second=only_second,
        count=count,
        p_value=float(binomtest(only_first, discordant).pvalue) if discordant else 1.0,
    )


def confusion(predictions: Predictions, classes: int) -> NDArray[np.int64]:
    """Return how many images of each class (rows) were said to be of each (columns)."""
    counts = np.bincount(predictions.labels * classes + predictions.chosen, minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.int64)


def class_table(counts: NDArray[np.int64], names: tuple[str, ...]) -> tuple[ClassAccuracy, ...]:
    """Return the accuracy of each class from the confusion `counts`."""
    right = np.diag(counts)
    return tuple(
        ClassAccuracy(
            name=names[place],
            right=int(right[place]),
            count=int(counts[place].sum()),
            also=int(counts[:, place].sum() - right[place]),
        )
        for place in range(len(names))
    )
