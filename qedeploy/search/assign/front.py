"""All assignments that nothing beats in both time and error, by label setting: a second way to the best one.

Layers are decided in order. A label is what a partial assignment costs so far; two labels are comparable where they
agree on every layer that still has a pair to come, and the one with more of both is dropped. Nothing here is shared
with the linear program but the problem itself.
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


def enumerate_front(problem: AssignmentProblem, limits: Limits | None = None) -> AssignmentFront:
    """Return the whole front, up to the times and errors of `limits` where there are any.

    Raises RequestError where it needs more than MOST_LABELS partial assignments.
    """
    order = {layer.name: index for index, layer in enumerate(problem.layers)}
    pairs = [[*sorted((order[pair.first], order[pair.second])), pair.seconds] for pair in problem.pairs]
    last_use = [max([index, *(int(b) for a, b, _ in pairs if a == index)]) for index in range(len(problem.layers))]
    spare = _most_saved(problem, pairs)
    groups: dict[tuple[tuple[int, bool], ...], NDArray[np.float64]] = {
        (): np.asarray([[problem.float_seconds, 0.0]], np.float64)
    }
    for index, layer in enumerate(problem.layers):
        made: dict[tuple[tuple[int, bool], ...], list[NDArray[np.float64]]] = {}
        for state, labels in groups.items():
            known = dict(state)
            for choice in layer.choices:
                quantized = choice.precision != FLOAT
                saved = sum(s for a, b, s in pairs if b == index and quantized and known.get(int(a), False))
                following = {**known, index: quantized}
                key = tuple((number, flag) for number, flag in following.items() if last_use[number] > index)
                made.setdefault(key, []).append(labels + np.asarray([choice.seconds - saved, choice.error]))
        groups = {key: _undominated(np.concatenate(parts), limits, spare[index + 1]) for key, parts in made.items()}
        if sum(map(len, groups.values())) > MOST_LABELS:
            raise RequestError("the front has too many assignments to enumerate: give a budget instead of --pareto")
    front = _undominated(np.concatenate(list(groups.values())), limits, 0.0)
    return AssignmentFront(seconds=front[:, 0], errors=front[:, 1])


def _most_saved(problem: AssignmentProblem, pairs: list[list[float]]) -> list[float]:
    """Return for each layer what it and those behind it can save at most, in seconds."""
    spare = [0.0]
    for index in reversed(range(len(problem.layers))):
        own = max(0.0, *(-choice.seconds for choice in problem.layers[index].choices))
        spare.append(spare[-1] + own + sum(s for _, b, s in pairs if b == index))
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
