"""A second route to the exact search's claim: no structure of the space within the budgets scores more than the bound.

It shares with the solver what a layer scores and costs, and nothing of how structures are searched. In this order:

1. A structure is a row of decisions (`decisions`): the stem, block after block (layer after layer, where each has its
   own widths), the head. Each decision adds to the score and to every budgeted cost.
2. `relax`: at given prices of the budgets, the best that can follow each state, found from the head backwards. With the
   limits paid back, the best whole value is a bound on every structure within the limits (weak duality).
3. `exceeding`: all beginnings of structures, from the stem on. One is left out when it breaks a limit, when its score
   and the best that can follow (at any of the prices) do not exceed the claim, or when another one in the same
   state scores no less and costs no more. What reaches the end contradicts the claim.

Where peak memory is limited, a beginning has a burden too (`burdens`): what its widths leave to the next layers. It
counts as one more cost where beginnings are compared, and what breaks the limit is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from qedeploy.network.structure import Structure
from qedeploy.search.audit.checks import ROUNDING
from qedeploy.search.audit.decisions import Decision, Decisions
from qedeploy.search.audit.memory_states import stem_burden
from qedeploy.search.space.layers import Array

MOST_BEGINNINGS = 300_000
"""Beginnings of one depth after which the enumeration gives up: the claim is then neither confirmed nor refuted."""


class TooManyError(Exception):
    """The prices leave more beginnings open than the enumeration takes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relaxation:
    """The most that can follow at fixed prices: `after[t]` [channels] stage t, `inside[t][d]` [*states] block d of it.

    t counts from 0, the stem; d from 1.
    """

    prices: Array
    after: list[Array]
    inside: list[list[Array]]
    bound: float


def relax(decisions: Decisions, prices: Sequence[Array]) -> list[Relaxation]:
    """Return the relaxation at each of `prices`: one entry for each budget, none negative."""
    head = decisions.head()
    after = [[head.at(price).max(axis=-1)] for price in prices]
    inside: list[list[list[Array]]] = [[] for _ in prices]
    for stage in reversed(range(len(decisions.depths))):
        repeat = decisions.repeated_block(stage) if max(decisions.depths[stage]) > 1 else ()
        for price, behind, within in zip(prices, after, inside, strict=True):
            within.insert(0, _inside(repeat, behind[0], decisions.depths[stage], decisions.states, price))
        best: list[list[float]] = [[] for _ in prices]
        for into in decisions.channels[stage].tolist():
            row = decisions.first_block(stage, into)
            for price, within, values in zip(prices, inside, best, strict=True):
                values.append(_before(row, within[0][1], price)[0].max())
        for behind, values in zip(after, best, strict=True):
            behind.insert(0, np.array(values))
    stem, limits = decisions.stem(), decisions.problem.limits
    return [
        Relaxation(
            prices=price, after=behind, inside=within, bound=float((stem.at(price) + behind[0]).max() + price @ limits)
        )
        for price, behind, within in zip(prices, after, inside, strict=True)
    ]


def _inside(
    repeat: Sequence[Decision], after: Array, depths: tuple[int, ...], states: tuple[int, ...], prices: Array
) -> list[Array]:
    """Return, for each number of blocks done, the best of leaving the stage and of one more block."""
    leave, never = np.broadcast_to(after[:, None, None], states), np.full(states, -np.inf)
    values = [never]
    for depth in range(max(depths), 0, -1):
        again = _before(repeat, values[0], prices)[0]
        values.insert(0, np.maximum(again, leave) if depth in depths else again)
    return [never, *values]


def _before(row: Sequence[Decision], following: Array, prices: Array) -> list[Array]:
    """Return the best from before each decision of a block on, and at last `following`."""
    values = [following]
    for decision in reversed(row):
        values.insert(0, decision.at(prices).max(axis=-1) + values[0])
    return values


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginnings:
    """Beginnings of structures: state, score, costs [beginnings, budgets], burden, and choices [beginnings, decisions].

    A choice is the state behind the decision, times the decision's choices, plus the choice; -1 where a stage has
    fewer blocks than it may have.
    """

    state: Array
    score: Array
    costs: Array
    burden: Array
    choices: Array

    def __len__(self) -> int:
        """Return how many there are."""
        return int(self.state.size)

    def take(self, rows: Array) -> Beginnings:
        """Return those of `rows`."""
        return Beginnings(
            state=self.state[rows],
            score=self.score[rows],
            costs=self.costs[rows],
            burden=self.burden[rows],
            choices=self.choices[rows],
        )

    @staticmethod
    def join(parts: Sequence[Beginnings]) -> Beginnings:
        """Return those of all parts."""
        return Beginnings(
            state=np.concatenate([part.state for part in parts]),
            score=np.concatenate([part.score for part in parts]),
            costs=np.concatenate([part.costs for part in parts]),
            burden=np.concatenate([part.burden for part in parts]),
            choices=np.concatenate([part.choices for part in parts]),
        )


class Enumeration:
    """All beginnings that could still exceed a claimed bound."""

    def __init__(self, decisions: Decisions, relaxations: Sequence[Relaxation], claim: float) -> None:
        self.decisions, self.relaxations, self.claim = decisions, relaxations, claim
        self.limits = decisions.problem.limits
        self.looked_at = 0

    def exceeding(self) -> Structure | None:
        """Return a structure that keeps the limits and scores more than the claim, None where there is none."""
        ends = self._ends()
        for choices in ends.choices[np.argsort(-ends.score)].tolist():
            structure = self.decisions.structure(choices)
            if self.decisions.problem.satisfied(structure):
                return structure
        return None

    def _ends(self) -> Beginnings:
        stem = self.decisions.stem()
        state = np.arange(stem.score.size)
        burden = stem_burden(self.decisions.problem, self.decisions.channels[0])
        found = Beginnings(state=state, score=stem.score, costs=stem.costs.T, burden=burden, choices=state[:, None])
        found = found.take(np.flatnonzero(burden < np.inf))
        for stage, depths in enumerate(self.decisions.depths):
            parts = [
                self._block(
                    found.take(found.state == number), self.decisions.first_block(stage, into), stage, 1, entering=True
                )
                for number, into in enumerate(self.decisions.channels[stage].tolist())
            ]
            found = self._undominated(Beginnings.join(parts))
            leaving = []
            for depth in range(1, max(depths) + 1):
                if depth in depths:
                    channel = np.unravel_index(found.state, self.decisions.states)[0]
                    unused = ((0, 0), (0, (max(depths) - depth) * self.decisions.per_block))
                    choices = np.pad(found.choices, unused, constant_values=-1)
                    leaving.append(replace(found, state=channel, choices=choices))
                if depth < max(depths):
                    found = self._block(found, self.decisions.repeated_block(stage), stage, depth + 1)
            found = self._undominated(Beginnings.join(leaving))
        found = self._extend(
            found, self.decisions.head(), [np.zeros(len(self.decisions.channels[-1]))] * len(self.relaxations)
        )
        return found.take(found.score > self.claim + ROUNDING)

    def _block(
        self, found: Beginnings, row: Sequence[Decision], stage: int, depth: int, *, entering: bool = False
    ) -> Beginnings:
        chains = [_before(row, relaxed.inside[stage][depth], relaxed.prices) for relaxed in self.relaxations]
        for number, decision in enumerate(row):
            following = [chain[number + 1] for chain in chains]
            if entering and number == 0:
                found = self._enter(found, decision, following)
            else:
                found = self._extend(found, _flat(decision), [value.ravel() for value in following])
        return found

    def _enter(self, found: Beginnings, decision: Decision, following: Sequence[Array]) -> Beginnings:
        """Return the beginnings, all in one state, with every choice of shape and widths for the first block."""
        choices, prices = decision.score.shape[-1], self.relaxations[0].prices
        gain = (decision.at(prices) + following[0][..., None]).ravel()
        best_first = np.argsort(-gain)
        ahead = found.score + (self.limits - found.costs) @ prices
        counts = np.searchsorted(-gain[best_first], ahead - self.claim)
        parts = [_none(found)]
        score, costs = decision.score.ravel(), decision.costs.reshape(len(self.limits), decision.score.size).T
        for number, count in enumerate(counts.tolist()):
            chosen = best_first[:count]
            parts.append(
                self._kept(
                    Beginnings(
                        state=chosen // choices,
                        score=found.score[number] + score[chosen],
                        costs=found.costs[number] + costs[chosen],
                        burden=decision.carry(
                            np.full(count, found.burden[number]), chosen // choices, chosen % choices
                        ),
                        choices=np.column_stack([np.tile(found.choices[number], (count, 1)), chosen]),
                    ),
                    [value.ravel() for value in following],
                )
            )
        return Beginnings.join(parts)

    def _extend(self, found: Beginnings, decision: Decision, following: Sequence[Array]) -> Beginnings:
        """Return the beginnings with every choice of one decision, which leaves the state as it is."""
        choices = decision.score.shape[-1]
        parts = [_none(found)]
        for choice in range(choices):
            added = Beginnings(
                state=found.state,
                score=found.score + decision.score[found.state, choice],
                costs=found.costs + decision.costs[:, found.state, choice].T,
                burden=decision.carry(found.burden, found.state, np.full(len(found), choice)),
                choices=np.column_stack([found.choices, found.state * choices + choice]),
            )
            parts.append(self._kept(added, following))
        return self._undominated(Beginnings.join(parts))

    def _kept(self, found: Beginnings, following: Sequence[Array]) -> Beginnings:
        open_still = (
            (found.costs <= self.limits * (1 + 1e-12)).all(axis=1)
            & np.isfinite(found.score)
            & np.isfinite(found.burden)
        )
        for relaxed, value in zip(self.relaxations, following, strict=True):
            best = found.score + (self.limits - found.costs) @ relaxed.prices + value[found.state]
            open_still &= best > self.claim + ROUNDING
        return found.take(np.flatnonzero(open_still))

    def _undominated(self, found: Beginnings) -> Beginnings:
        self.looked_at += len(found)
        if len(found) > MOST_BEGINNINGS:
            raise TooManyError
        if not len(found):
            return found
        found = found.take(np.lexsort((-found.score, found.state)))
        compared = np.column_stack([found.costs, found.burden])
        kept: list[int] = []
        start = 0
        for row, (state, costs) in enumerate(zip(found.state.tolist(), compared, strict=True)):
            if kept and found.state[kept[-1]] != state:
                start = len(kept)
            if not (compared[kept[start:]] <= costs).all(axis=1).any():
                kept.append(row)
        return found.take(np.array(kept))


def _none(found: Beginnings) -> Beginnings:
    """Return no beginnings, with room for one more choice."""
    return Beginnings(
        state=found.state[:0],
        score=found.score[:0],
        costs=found.costs[:0],
        burden=found.burden[:0],
        choices=np.empty((0, found.choices.shape[1] + 1), np.int64),
    )


def _flat(decision: Decision) -> Decision:
    *states, choices = decision.score.shape
    rows = (int(np.prod(states)), choices)
    costs = decision.costs.reshape(len(decision.costs), *rows)
    return replace(decision, score=decision.score.reshape(rows), costs=costs)
