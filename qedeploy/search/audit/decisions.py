"""A structure as a row of decisions, each with what it adds to the score and to every budgeted cost.

Nothing here is pruned or ordered: these are the plain arrays that the second route of `verify` walks through.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from qedeploy.network.structure import Block, Stage, Structure
from qedeploy.search.audit.memory_states import Carry, block_carries, head_carry, no_burden
from qedeploy.search.costs.peak_memory import block_memory
from qedeploy.search.exact.costs import SolverLayers
from qedeploy.search.exact.problem import BlockShapes, Problem
from qedeploy.search.space.layers import Array
from qedeploy.search.space.space import bottleneck_channels


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What each choice adds: score [*states, choices], costs [budgets, *states, choices]; -inf for what cannot be.

    `carry` says what it does to a beginning's burden, its states counted over all of `states`.
    """

    score: Array
    costs: Array
    carry: Carry = no_burden

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
        self._end = space.score.end_term

    def stem(self) -> Decision:
        """Return the choice of the stem's channels, shape [channels]."""
        channels = self.channels[0]
        row = self._layer(self.problem.stem(channels), 0, channels.shape)
        score = row.score[:, 0] + self._bonus[0] * self._end(channels)
        for budget, limit in self.problem.peaks:
            score = np.where(budget.stem(self.problem.space, channels) <= limit, score, -np.inf)
        return Decision(score=score, costs=row.costs[..., 0])

    def head(self) -> Decision:
        """Return the choice of the head's widths, shape [channels, pairs]."""
        channels = self.channels[-1]
        row = self._layer(self.problem.head(channels), -1, channels.shape)
        score = row.score + self._bonus[-1] * self._end(np.array(self.problem.space.head_channels))
        for budget, limit in self.problem.peaks:
            held = budget.head(self.problem.space, self.problem.sizes[-1], channels)
            score = np.where(held[:, None] <= limit, score, -np.inf)
        return Decision(score=score, costs=row.costs, carry=head_carry(self.problem, channels))

    def first_block(self, stage: int, into: int) -> list[Decision]:
        """Return the decisions of a stage's first block behind `into` channels, shape [*states, choices]."""
        out = self.channels[stage + 1][:, None, None, None]
        allowed = np.where(out >= into, self._bonus[stage + 1] * self._end(out), -np.inf)
        first, *others = self._block(stage, into)
        return [replace(first, score=first.score + allowed), *others]

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
        layers = [self._layer(layer, stage + 1, self.states) for layer in blocks.layers]
        carries = block_carries(self.problem, blocks, self.states)
        if self.problem.widths_per_layer:
            fits = [self._may_fit(blocks, {position}) for position in range(3)]
            return [
                Decision(score=np.where(fit, layer.score, -np.inf), costs=layer.costs, carry=carry)
                for fit, layer, carry in zip(fits, layers, carries, strict=True)
            ]
        score = layers[0].score + layers[1].score + layers[2].score
        return [
            Decision(
                score=np.where(self._may_fit(blocks, {0, 1, 2}), score, -np.inf),
                costs=layers[0].costs + layers[1].costs + layers[2].costs,
                carry=carries[0],
            )
        ]

    def _may_fit(self, blocks: BlockShapes, decided: set[int]) -> Array:
        """Say where a block can keep its limits: layers not `decided`, and the next block, at their narrowest."""
        fits = np.array(True)
        for budget, limit in self.problem.peaks:
            fits = fits & (budget.block(self.problem.space, blocks.sizes) <= limit)[..., None]
        if self.problem.peak_memory is None:
            return fits
        in_bytes = [np.array([bits.activation / 8 for bits in pairs.bits]) for pairs in self.problem.block_pairs]
        in_bytes = [widths if number in decided else widths.min() for number, widths in enumerate(in_bytes)]
        shapes = (blocks.in_channels, blocks.bottleneck, blocks.out_channels)
        into, middle, out = (np.asarray(shape)[..., None] for shape in shapes)
        least = min(self.problem.entries) / 8
        held = block_memory(into, middle, out, blocks.stride, blocks.size, (*in_bytes, least))
        return np.asarray(fits & (held <= self.problem.peak_memory))

    def _layer(self, layers: SolverLayers, block: int, states: tuple[int, ...]) -> Decision:
        entropy = np.broadcast_to(layers.entropy, states)[..., None] + layers.gains
        costs = np.zeros((len(self.problem.costs), *entropy.shape))
        for number, parts in enumerate(layers.costs):
            for part in parts:
                costs[number] += np.asarray(part.shape)[..., None] * part.factor
        return Decision(score=self._weights[block] * entropy, costs=costs)
