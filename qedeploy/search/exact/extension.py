"""What one more block makes of labels: the blocks that may follow, and the labels that come of them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from qedeploy.search.exact.labels import Labels
from qedeploy.search.exact.problem import BlockShapes
from qedeploy.search.space.layers import Array

CHUNK = 1 << 19
"""Pairs of a label and a choice that are looked at in one go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arcs:
    """Blocks that may come next, one row each: from which of the states in hand, to which node, worth how much.

    `numbers` are the move's channels, kernel and ratio as indices (-1 for a repeat); `shape` numbers them together,
    below `shapes`. `follow` has one row for each completion. `bonus` is what the width of the stage itself adds to the
    score; `worth` is that and what the first completion can still add.
    """

    source: Array
    node: Array
    numbers: Array
    follow: Array
    blocks: BlockShapes
    shape: Array
    shapes: int
    bonus: Array
    worth: Array
    entry: Array
    following: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Labels that an extension made, each with its bound and the choice that made it; `ident` is still the parent's."""

    labels: Labels
    choice: Array
    bound: Array

    def take(self, rows: Array) -> Candidates:
        """Return the candidates of `rows`."""
        return Candidates(labels=self.labels.take(rows), choice=self.choice[rows], bound=self.bound[rows])

    def joined(self, other: Candidates) -> Candidates:
        """Return these and the others."""
        return Candidates(
            labels=Labels.join([self.labels, other.labels]),
            choice=np.concatenate([self.choice, other.choice]),
            bound=np.concatenate([self.bound, other.bound]),
        )


def taken_choices(reach: Array, source: Array, least: Array, state: Array, starts: Array) -> Array:
    """Return, for each label, how many choices of its state reach more than `least`; both sorted by state."""
    segment, key = np.concatenate([source, state]), -np.concatenate([reach, least])
    is_choice = np.arange(segment.size) < source.size
    order = np.lexsort((is_choice, key, segment))
    before = np.empty(segment.size, np.int64)
    before[order] = np.cumsum(is_choice[order])
    return before[source.size :] - starts[state]


def chunks(taken: Array) -> list[slice]:
    """Return ranges of labels that take about CHUNK choices together (at least one range)."""
    part = np.cumsum(taken) // CHUNK
    edges = [0, *(np.flatnonzero(np.diff(part)) + 1).tolist(), taken.size]
    return [slice(begin, end) for begin, end in pairwise(edges)]
