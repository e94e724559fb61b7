"""A second route to the exact search's claim: no structure of the space within the budgets scores more than the bound.

It shares with the solver what a layer scores and costs, and nothing of how structures are searched. In this order:

1. `Decisions`: a structure is a row of decisions: the stem, block after block (layer after layer, where each has its
   own widths), the head. Each decision adds to the score and to every budgeted cost.
2. `relax`: at given prices of the budgets, the best that can follow each state, found from the head backwards. With the
   limits paid back, the best whole value is a bound on every structure within the limits (weak duality).
3. `exceeding`: all beginnings of structures, from the stem on. One is left out when it breaks a limit, when its score
   and the best that can follow (at any of the prices) do not exceed the claim, or when another one in the same
   state scores no less and costs no more. What reaches the end contradicts the claim.

Peak memory is judged on whole structures; on the way, a block is left out only where it breaks it whatever follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qedeploy.network.structure import Block, Stage, Structure
from qedeploy.search.exact.costs import LayerShapes, Pairs
from qedeploy.search.exact.problem import BlockShapes, Problem
from qedeploy.search.measures import block_memory
from qedeploy.search.space import bottleneck_channels
from qedeploy.search.terms import Array

ROUNDING = 1e-9
MOST_BEGINNINGS = 300_000
"""Beginnings of one depth after which the enumeration gives up: the claim is then neither confirmed nor refuted."""


class TooManyError(Exception):
    """The prices leave more beginnings open than the enumeration takes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What each choice adds: score [*states, choices], costs [budgets, *states, choices]; -inf for what cannot be."""

    score: Array
    costs: Array

    def at(self, prices: Array) -> Array:
        """Return score less priced costs."""
        found: Array = self.score - np.tensordot(prices, self.costs, 1)
        return found


class Decisions:
    """The decisions of a problem. States: channels between stages; (channels, kernel, ratio) inside one."""

    def __init__(self, problem: Problem) -> None:
        space = problem.space
        self.problem, self.depths = problem, space.depths
        self.channels = [np.array(space.stem_channels), *[np.array(space.channels)] * len(space.strides)]
        self.states = (len(space.channels), len(space.kernels), len(space.ratios))
        self._weights, self._bonus = problem.score_weights

    def stem(self) -> Decision:
        """Return the choice of the stem's channels, shape [channels]."""
        channels = self.channels[0]
        row = self._layer(self.problem.stem(channels), self.problem.stem_pairs, 0, channels.shape)
        return Decision(score=row.score[:, 0] + self._bonus[0] * np.log(channels), costs=row.costs[..., 0])

    def head(self) -> Decision:
        """Return the choice of the head's widths, shape [channels, pairs]."""
        channels = self.channels[-1]
        row = self._layer(self.problem.head(channels), self.problem.head_pairs, -1, channels.shape)
        return Decision(score=row.score + self._bonus[-1] * np.log(self.problem.space.head_channels), costs=row.costs)

    def first_block(self, stage: int, into: int) -> list[Decision]:
        """Return the decisions of a stage's first block behind `into` channels, shape [*states, choices]."""
        out = self.channels[stage + 1][:, None, None, None]
        allowed = np.where(out >= into, self._bonus[stage + 1] * np.log(out), -np.inf)
        first, *others = self._block(stage, into)
        return [Decision(score=first.score + allowed, costs=first.costs), *others]

    def repeated_block(self, stage: int) -> list[Decision]:
        """Return the decisions of a stage's further blocks, shape [*states, choices]."""
        return self._block(stage, None)

    @property
    def per_block(self) -> int:
        """How many decisions a block takes."""
        return 3 if self.problem.widths_per_layer else 1

    def structure(self, choices: Sequence[int]) -> Structure:
        """Return the structure of a whole row of choices (see Beginnings)."""
        space, (stem, *row, head) = self.problem.space, choices
        stages = []
        for depths, stride in zip(self.depths, space.strides, strict=True):
            mine, row = row[: max(depths) * self.per_block], row[max(depths) * self.per_block :]
            used = [code for code in mine if code >= 0]
            pairs = self.problem.block_pairs if self.per_block == 3 else self.problem.block_pairs[:1]
            counts = [len(pair.bits) for pair in pairs]
            state = np.unravel_index(used[0] // counts[0], self.states)
            picked = [code % counts[number % self.per_block] for number, code in enumerate(used)]
            blocks = [
                picked[start : start + self.per_block] * (3 // self.per_block)
                for start in range(0, len(picked), self.per_block)
            ]
            out = space.channels[state[0]]
            stages.append(
                Stage(
                    out_channels=out,
                    bottleneck_channels=bottleneck_channels(out, space.ratios[state[2]]),
                    kernel=space.kernels[state[1]],
                    stride=stride,
                    blocks=tuple(self._widths(block) for block in blocks),
                )
            )
        return Structure(
            stem=space.stem(space.stem_channels[stem]),
            stages=tuple(stages),
            head=space.head(self.problem.head_pairs.bits[head % len(self.problem.head_pairs.bits)]),
            classifier=space.classifier,
            resolution=space.resolution,
        )

    def _widths(self, numbers: Sequence[int]) -> Block:
        expand, depthwise, project = (
            pairs.bits[number] for pairs, number in zip(self.problem.block_pairs, numbers, strict=True)
        )
        return Block(expand=expand, depthwise=depthwise, project=project)

    def _block(self, stage: int, into: int | None) -> list[Decision]:
        space, out = self.problem.space, self.channels[stage + 1][:, None, None]
        blocks = self.problem.blocks(
            stage,
            first=into is not None,
            in_channels=out if into is None else np.array(into),
            out_channels=out,
            kernel=np.array(space.kernels)[:, None],
            ratio=np.array(space.ratios),
        )
        rows = zip(blocks.layers, self.problem.block_pairs, strict=True)
        layers = [self._layer(layer, pairs, stage + 1, self.states) for layer, pairs in rows]
        if self.problem.widths_per_layer:
            return layers
        score = layers[0].score + layers[1].score + layers[2].score
        return [
            Decision(
                score=np.where(self._may_fit(blocks), score, -np.inf),
                costs=layers[0].costs + layers[1].costs + layers[2].costs,
            )
        ]

    def _may_fit(self, blocks: BlockShapes) -> Array:
        if self.problem.peak_memory is None:
            return np.array(True)
        widths = [np.array([bits.activation / 8 for bits in pairs.bits]) for pairs in self.problem.block_pairs]
        into, middle, out = (
            np.asarray(n)[..., None] for n in (blocks.in_channels, blocks.bottleneck, blocks.out_channels)
        )
        least = min(self.problem.entries) / 8
        held = block_memory(into, middle, out, blocks.stride, blocks.size, (*widths, least))
        return np.asarray(held <= self.problem.peak_memory)

    def _layer(self, layers: LayerShapes, pairs: Pairs, block: int, states: tuple[int, ...]) -> Decision:
        entropy = np.broadcast_to(layers.terms.entropy, states)[..., None] + pairs.terms.entropy
        costs = np.zeros((len(self.problem.costs), *entropy.shape))
        for number, cost in enumerate(self.problem.costs):
            for shape, factor in cost.parts(layers, pairs):
                costs[number] += np.asarray(shape)[..., None] * factor
        return Decision(score=self._weights[block] * entropy, costs=costs)


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
        repeat = decisions.repeated_block(stage)
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
    """Beginnings of structures: their state, score, costs [beginnings, budgets], and choices [beginnings, decisions].

    A choice is the state behind the decision, times the decision's choices, plus the choice; -1 where a stage has
    fewer blocks than it may have.
    """

    state: Array
    score: Array
    costs: Array
    choices: Array

    def __len__(self) -> int:
        """Return how many there are."""
        return int(self.state.size)

    def take(self, rows: Array) -> Beginnings:
        """Return those of `rows`."""
        return Beginnings(
            state=self.state[rows], score=self.score[rows], costs=self.costs[rows], choices=self.choices[rows]
        )

    @staticmethod
    def join(parts: Sequence[Beginnings]) -> Beginnings:
        """Return those of all parts."""
        return Beginnings(
            state=np.concatenate([part.state for part in parts]),
            score=np.concatenate([part.score for part in parts]),
            costs=np.concatenate([part.costs for part in parts]),
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
        found = Beginnings(state=state, score=stem.score, costs=stem.costs.T, choices=state[:, None])
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
                    leaving.append(Beginnings(state=channel, score=found.score, costs=found.costs, choices=choices))
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
                choices=np.column_stack([found.choices, found.state * choices + choice]),
            )
            parts.append(self._kept(added, following))
        return self._undominated(Beginnings.join(parts))

    def _kept(self, found: Beginnings, following: Sequence[Array]) -> Beginnings:
        open_still = (found.costs <= self.limits * (1 + 1e-12)).all(axis=1) & np.isfinite(found.score)
        for relaxed, value in zip(self.relaxations, following, strict=True):
            best = found.score + (self.limits - found.costs) @ relaxed.prices + value[found.state]
            open_still &= best > self.claim + ROUNDING
        return found.take(np.flatnonzero(open_still))

    def _undominated(self, found: Beginnings) -> Beginnings:
        self.looked_at += len(found)
        if len(found) > MOST_BEGINNINGS:
            raise TooManyError
        if self.decisions.problem.peak_memory is not None or not len(found):
            # The widths that a state does not show decide what still fits: nothing replaces anything.
            return found
        found = found.take(np.lexsort((-found.score, found.state)))
        kept: list[int] = []
        start = 0
        for row, (state, costs) in enumerate(zip(found.state.tolist(), found.costs, strict=True)):
            if kept and found.state[kept[-1]] != state:
                start = len(kept)
            if not (found.costs[kept[start:]] <= costs).all(axis=1).any():
                kept.append(row)
        return found.take(np.array(kept))


def _none(found: Beginnings) -> Beginnings:
    """Return no beginnings, with room for one more choice."""
    return Beginnings(
        state=found.state[:0],
        score=found.score[:0],
        costs=found.costs[:0],
        choices=np.empty((0, found.choices.shape[1] + 1), np.int64),
    )


def _flat(decision: Decision) -> Decision:
    *states, choices = decision.score.shape
    rows = (int(np.prod(states)), choices)
    return Decision(score=decision.score.reshape(rows), costs=decision.costs.reshape(len(decision.costs), *rows))
