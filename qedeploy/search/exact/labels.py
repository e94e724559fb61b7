"""Labels: partial structures with their exact score and costs, and the rules by which they may be dropped.

A label is dropped without loss when another one in the same state scores no less and costs no more (dominance), or
when its score and the best completion together, at any prices, cannot beat the structure already known (bound).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from qedeploy.search.exact.completion import Completion
from qedeploy.search.space.layers import Array

SLACK = 1e-12
"""Relative rounding of a sum of costs: labels may exceed a limit by this much, structures are judged exactly."""

LOOK_BACK = 48
"""With several costs, how many better labels of the same state each label is compared with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """Partial structures, one row each, all at the same depth; `node` is their state.

    `family` is equal for the labels that may dominate each other beside `node`: 0 for all, or the shapes so far when
    the best of every shape is wanted. `ident` is the entry in the Trail.
    """

    node: Array
    score: Array
    costs: Array
    family: Array
    ident: Array

    def __len__(self) -> int:
        """Return the number of labels."""
        return int(self.node.size)

    def take(self, rows: Array) -> Labels:
        """Return the labels of `rows`."""
        return Labels(
            node=self.node[rows],
            score=self.score[rows],
            costs=self.costs[rows],
            family=self.family[rows],
            ident=self.ident[rows],
        )

    @staticmethod
    def join(parts: Sequence[Labels]) -> Labels:
        """Return the labels of all parts (at least one)."""
        return Labels(
            node=np.concatenate([part.node for part in parts]),
            score=np.concatenate([part.score for part in parts]),
            costs=np.concatenate([part.costs for part in parts]),
            family=np.concatenate([part.family for part in parts]),
            ident=np.concatenate([part.ident for part in parts]),
        )


class EffortSpentError(Exception):
    """A walk needs more work than it was given."""


@dataclass(slots=True)
class Trail:
    """How every label came to be: its parent and the move that made it, to read structures back."""

    parents: list[Array] = field(default_factory=list)
    moves: list[Array] = field(default_factory=list)
    count: int = 0

    def add(self, parents: Array, moves: Array) -> Array:
        """Record labels, `moves` with one row of whole numbers each; returns their identities."""
        self.parents.append(parents)
        self.moves.append(moves.astype(np.int16))
        self.count += parents.size
        return np.arange(self.count - parents.size, self.count)

    def moves_to(self, ident: int) -> list[tuple[int, ...]]:
        """Return the moves from the first to the one that made `ident`."""
        starts = np.cumsum([0, *(part.size for part in self.parents)])
        found: list[tuple[int, ...]] = []
        while ident >= 0:
            part = int(np.searchsorted(starts, ident, side="right")) - 1
            row = ident - int(starts[part])
            found.append(tuple(self.moves[part][row].tolist()))
            ident = int(self.parents[part][row])
        return found[::-1]


@dataclass(slots=True)
class Selector:
    """Keeps the labels that may still lead to something better than `threshold`, at most `width` of a depth.

    `dropped` is the largest bound of a label lost to `width` alone: while it stays below the threshold, nothing that
    matters was lost. `made` counts the labels, `looked` the extensions they were chosen from; more than `effort` of
    these raise EffortSpentError. A finite `regret` makes a dive: blocks that lose more than this against the best
    one are not tried, and what is found then says nothing about the rest.
    """

    completions: Sequence[Completion]
    limits: Array
    threshold: float
    width: int
    within_limits: bool = True
    dropped: float = -np.inf
    made: int = 0
    looked: int = 0
    effort: int | None = None
    regret: float = np.inf

    def look(self, extensions: int) -> None:
        """Count extensions; raises EffortSpentError when they are too many."""
        self.looked += extensions
        if self.effort is not None and self.looked > self.effort:
            raise EffortSpentError

    def worth(self, score: Array, costs: Array, follow: Sequence[Array]) -> Array:
        """Return the least upper bound of each label, rounded up; -inf where it breaks a limit."""
        bound = np.full(score.shape, np.inf)
        for completion, following in zip(self.completions, follow, strict=True):
            value = score + (self.limits - costs) @ completion.prices.multipliers + following
            value += completion.rounding(self.limits)
            np.minimum(bound, value, out=bound)
        if self.within_limits and costs.shape[1]:
            bound[(costs > self.limits + SLACK * np.abs(self.limits)).any(axis=1)] = -np.inf
        return bound

    def keep(self, labels: Labels, bound: Array) -> Array:
        """Return the rows of the labels that are not dominated, the best `width` of them by bound."""
        order = np.flatnonzero(undominated(labels, bound))
        if order.size > self.width:
            ranked = order[np.argsort(-bound[order], kind="stable")]
            self.dropped = max(self.dropped, float(bound[ranked[self.width]]))
            order = ranked[: self.width]
        return order


def undominated(labels: Labels, bound: Array) -> Array:
    """Return a mask of the labels that no other of their state and family beats; of equals one stays."""
    if not len(labels):
        return np.zeros(0, bool)
    if labels.costs.shape[1] <= 1:
        return _undominated_at_one_cost(labels)
    order = np.lexsort((-labels.score, -bound, labels.family, labels.node))
    node, family, score, costs = labels.node[order], labels.family[order], labels.score[order], labels.costs[order]
    beaten = np.zeros(node.size, bool)
    for lag in range(1, min(LOOK_BACK, node.size - 1) + 1):
        same = (node[lag:] == node[:-lag]) & (family[lag:] == family[:-lag])
        if not same.any():
            break
        no_worse = same & (score[:-lag] >= score[lag:])
        for cost in costs.T:
            no_worse &= cost[:-lag] <= cost[lag:]
        beaten[lag:] |= no_worse
    found = np.empty(node.size, bool)
    found[order] = ~beaten
    return found


def _undominated_at_one_cost(labels: Labels) -> Array:
    cost = labels.costs[:, 0] if labels.costs.shape[1] else np.zeros(len(labels))
    order = np.lexsort((-labels.score, cost, labels.family, labels.node))
    node, family = labels.node[order], labels.family[order]
    _, rank = np.unique(labels.score[order], return_inverse=True)
    fresh = np.concatenate([[True], (node[1:] != node[:-1]) | (family[1:] != family[:-1])])
    # A running maximum that starts again at each state: ranks are lifted by more than any rank from state to state.
    lifted = rank + np.cumsum(fresh) * len(labels)
    highest = np.maximum.accumulate(lifted)
    found = np.empty(node.size, bool)
    found[order] = fresh | np.concatenate([[True], lifted[1:] > highest[:-1]])
    return found
