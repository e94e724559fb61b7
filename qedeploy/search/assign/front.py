"""All assignments that nothing beats in both time and error, by label setting: a second way to the best one.

Layers are decided in order. A label is what a partial assignment costs so far; two labels are comparable where the same
savings are still open to both, and the one with more of both is dropped. Nothing here is shared with the linear program
but the problem itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qedeploy.errors import RequestError
from qedeploy.search.assign.problem import FLOAT, AssignmentProblem, Limits

MOST_LABELS = 400_000
"""Partial assignments kept at most: beyond, the front is not enumerated."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AssignmentFront:
    """Time (seconds) and error of every assignment that none beats in both, times ascending."""

    seconds: NDArray[np.float64]
    errors: NDArray[np.float64]

    def least_seconds(self, error: float) -> float:
        """Return the least time within `error`; infinity where nothing is."""
        within = self.seconds[self.errors <= error * (1 + 1e-9)]
        return float(within.min()) if len(within) else float("inf")

    def least_error(self, seconds: float) -> float:
        """Return the least error within `seconds`; infinity where nothing is."""
        within = self.errors[self.seconds <= seconds * (1 + 1e-9)]
        return float(within.min()) if len(within) else float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Saving:
    """Places of layers in the order in which they are decided, and the seconds they save together out of float32."""

    layers: tuple[int, ...]
    seconds: float


def enumerate_front(problem: AssignmentProblem, limits: Limits | None = None) -> AssignmentFront:
    """Return the whole front, up to the times and errors of `limits` where there are any.

    Raises RequestError where it needs more than MOST_LABELS partial assignments.
    """
    savings = _savings(problem)
    spare = _most_saved(problem, savings)
    groups: dict[frozenset[int], NDArray[np.float64]] = {
        frozenset(): np.asarray([[problem.float_seconds, 0.0]], np.float64)
    }
    for index, layer in enumerate(problem.layers):
        begun = {number for number, item in enumerate(savings) if item.layers[0] == index}
        touched = {number for number, item in enumerate(savings) if index in item.layers}
        ended = {number for number, item in enumerate(savings) if item.layers[-1] == index}
        made: dict[frozenset[int], list[NDArray[np.float64]]] = {}
        for alive, labels in groups.items():
            for choice in layer.choices:
                following = alive - touched if choice.precision == FLOAT else alive | begun
                saved = sum(savings[number].seconds for number in following & ended)
                steps = labels + np.asarray([choice.seconds - saved, choice.error])
                made.setdefault(following - ended, []).append(steps)
        groups = {key: _undominated(np.concatenate(parts), limits, spare[index + 1]) for key, parts in made.items()}
        if sum(map(len, groups.values())) > MOST_LABELS:
            raise RequestError("the front has too many assignments to enumerate: give a budget instead of --pareto")
    front = _undominated(np.concatenate(list(groups.values())), limits, 0.0)
    return AssignmentFront(seconds=front[:, 0], errors=front[:, 1])


def _savings(problem: AssignmentProblem) -> list[_Saving]:
    """Return what layers save together; those of the same layers are one."""
    order = {layer.name: index for index, layer in enumerate(problem.layers)}
    totals: dict[tuple[int, ...], float] = {}
    for item in problem.savings:
        layers = tuple(sorted(order[name] for name in item.layers))
        totals[layers] = totals.get(layers, 0.0) + item.seconds
    return [_Saving(layers=layers, seconds=seconds) for layers, seconds in totals.items()]


def _most_saved(problem: AssignmentProblem, savings: list[_Saving]) -> list[float]:
    """Return for each layer what it and those behind it can save at most, in seconds."""
    spare = [0.0]
    for index in reversed(range(len(problem.layers))):
        own = max(0.0, *(-choice.seconds for choice in problem.layers[index].choices))
        spare.append(spare[-1] + own + sum(item.seconds for item in savings if item.layers[-1] == index))
    return spare[::-1]


def _undominated(labels: NDArray[np.float64], limits: Limits | None, spare: float) -> NDArray[np.float64]:
    """Return the labels (n, 2) that none beats and that can still end within `limits`, times ascending."""
    if limits is not None and limits.error is not None:
        labels = labels[labels[:, 1] <= limits.error * (1 + 1e-9)]
    if limits is not None and limits.seconds is not None:
        labels = labels[labels[:, 0] - spare <= limits.seconds * (1 + 1e-9)]
    labels = labels[np.lexsort((labels[:, 1], labels[:, 0]))]
    before = np.concatenate(([np.inf], np.minimum.accumulate(labels[:, 1])[:-1]))
    return labels[labels[:, 1] < before]
