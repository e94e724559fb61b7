"""The best assignment under one limit by label setting and multipliers: a second way where no two layers share a cost.

Layers are decided in order; a label is what a partial assignment costs so far. One is dropped where even the cheapest
rest of it, priced by the multiplier of the limit (Lagrange), is worse than what is known to be reached.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qedeploy.errors import RequestError
from qedeploy.search.assign.problem import AssignmentProblem

MOST_LABELS = 2_000_000
"""Partial assignments, those just made included, beyond which the problem is given up."""

_ROUNDING = 1e-9
_HALVINGS = 100


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Layer:
    """What the choices of one layer cost: (choices,) each."""

    minimised: NDArray[np.float64]
    limited: NDArray[np.float64]

    def priced(self, multiplier: float) -> NDArray[np.float64]:
        return self.minimised + multiplier * self.limited


def least_within(problem: AssignmentProblem, minimised: str, limited: str, limit: float, known: float) -> float:
    """Return the least sum of figure `minimised` with that of `limited` at most `limit`; infinity where none is.

    `known` is a value that an assignment reaches: worse ones are not looked for. Raises ValueError for a problem with
    savings, RequestError where it needs more than MOST_LABELS partial assignments.
    """
    if problem.savings:
        raise ValueError("savings: expected layers that share no cost")
    layers = [_costs(item.choices, minimised, limited) for item in problem.layers]
    multiplier = _multiplier(layers, limit)
    rest = _behind([float(layer.priced(multiplier).min()) for layer in layers])
    room = _behind([float(layer.limited.min()) for layer in layers])
    most = known + _ROUNDING * abs(known) + multiplier * limit
    ceiling = limit + _ROUNDING * abs(limit)
    labels = np.zeros((1, 2))
    for index, layer in enumerate(layers):
        if len(labels) * len(layer.minimised) > MOST_LABELS:
            raise RequestError("too many partial assignments to enumerate")
        steps = np.stack([layer.minimised, layer.limited], axis=1)
        made = (labels[:, None, :] + steps[None]).reshape(-1, 2)
        fits = made[:, 1] + room[index + 1] <= ceiling
        promising = made[:, 0] + multiplier * made[:, 1] + rest[index + 1] <= most
        labels = _undominated(made[fits & promising])
    return float(labels[:, 0].min()) if len(labels) else float("inf")


def _costs(choices: tuple[object, ...], minimised: str, limited: str) -> _Layer:
    return _Layer(
        minimised=np.asarray([getattr(choice, minimised) for choice in choices], np.float64),
        limited=np.asarray([getattr(choice, limited) for choice in choices], np.float64),
    )


def _multiplier(layers: list[_Layer], limit: float) -> float:
    """Return the least multiplier, up to rounding, at which the best choices of all layers keep the limit."""

    def used(multiplier: float) -> float:
        return sum(float(layer.limited[int(layer.priced(multiplier).argmin())]) for layer in layers)

    low, high = 0.0, 1e-30
    if used(low) <= limit:
        return 0.0
    while used(high) > limit and high < 1e30:
        low, high = high, high * 10
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if used(middle) > limit else (low, middle)
    return high


def _behind(least: list[float]) -> list[float]:
    """Return for each layer, and behind the last, the sum of what it and those behind it cost at least."""
    sums = [0.0]
    for value in reversed(least):
        sums.append(sums[-1] + value)
    return sums[::-1]


def _undominated(labels: NDArray[np.float64]) -> NDArray[np.float64]:
    labels = labels[np.lexsort((labels[:, 1], labels[:, 0]))]
    before = np.concatenate(([np.inf], np.minimum.accumulate(labels[:, 1])[:-1]))
    kept: NDArray[np.float64] = labels[labels[:, 1] < before]
    return kept
