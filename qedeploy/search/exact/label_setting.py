"""One walk through the stages with labels: from the stem to the head, block after block."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import prod

import numpy as np

from qedeploy.network.structure import Structure
from qedeploy.search.exact.blocks import DecidedBlocks, best_values, choices_within
from qedeploy.search.exact.completion import ChannelGrid, channel_bonus, shapes_of_stage
from qedeploy.search.exact.extension import Arcs, Candidates, chunks, taken_choices
from qedeploy.search.exact.fitting import head_fits, stem_fits
from qedeploy.search.exact.labels import Labels, Selector, Trail
from qedeploy.search.exact.moves import structure_from_moves
from qedeploy.search.exact.problem import Problem
from qedeploy.search.space.layers import Array


@dataclass(slots=True)
class LabelSetting:
    """The labels of a problem on a grid, extended under the rules of a Selector.

    With `by_shape` the best of every shape is kept (channels, kernels, bottlenecks, depths), not only the best.
    """

    problem: Problem
    grid: ChannelGrid
    selector: Selector
    by_shape: bool = False
    trail: Trail = field(default_factory=Trail)

    def run(self) -> Labels:
        """Return the complete structures above the threshold, best first."""
        labels = self._stems()
        for step in range(len(self.problem.space.strides)):
            labels = self._stage(labels, step)
        labels = self._heads(labels)
        return labels.take(np.argsort(-labels.score, kind="stable"))

    def structure(self, ident: int) -> Structure:
        """Return the structure of a complete label."""
        return structure_from_moves(self.problem, self.grid, self.trail.moves_to(ident))

    def _stems(self) -> Labels:
        problem, channels = self.problem, self.grid.channels[0]
        totals, costs = self.grid.stem_totals(problem)
        score = totals[:, 0]
        fits = np.stack([stem_fits(problem, channels, width) for width in problem.entries])
        entry, number = np.nonzero(fits)
        node = entry * channels.size + number
        moves = np.stack([number, *[np.full(number.size, -1)] * 5], axis=1)
        labels = Labels(
            node=node,
            score=score[number],
            costs=costs[number, 0],
            family=number if self.by_shape else np.zeros_like(number),
            ident=np.full(number.size, -1),
        )
        return self._after_stage(self._record(labels, moves), 0)

    def _stage(self, labels: Labels, step: int) -> Labels:
        depths = self.problem.space.depths[step]
        labels = self._extend(labels, step, 1)
        leaving: list[Labels] = []
        for depth in range(1, max(depths) + 1):
            if depth in depths:
                leaving.append(self._leave(labels, step, depth))
            if depth < max(depths):
                labels = self._extend(labels, step, depth + 1)
        return self._after_stage(Labels.join(leaving), step + 1)

    def _leave(self, labels: Labels, step: int, depth: int) -> Labels:
        per_channel = len(self.problem.space.kernels) * len(self.problem.space.ratios)
        family = labels.family * (max(self.problem.space.depths[step]) + 1) + depth if self.by_shape else labels.family
        return replace(labels, node=labels.node // per_channel, family=family)

    def _heads(self, labels: Labels) -> Labels:
        problem, channels = self.problem, self.grid.channels[-1]
        score, costs = self.grid.head_totals(problem)
        fits = head_fits(problem, channels)
        parts = []
        for pair, bits in enumerate(problem.head_pairs.bits):
            entry, number = np.divmod(labels.node, channels.size)
            rows = np.flatnonzero((entry == problem.entry(bits)) & fits[number, pair])
            number = number[rows]
            moves = np.full((rows.size, 6), -1)
            moves[:, 3] = pair
            found = Labels(
                node=np.zeros(rows.size, np.int64),
                score=labels.score[rows] + score[number, pair],
                costs=labels.costs[rows] + costs[number, pair],
                family=labels.family[rows],
                ident=labels.ident[rows],
            )
            parts.append(self._record(found, moves))
        labels = Labels.join(parts)
        bound = self.selector.worth(labels.score, labels.costs, [np.array(0.0)] * len(self.selector.completions))
        # Nothing follows: within the limits, a structure is worth its score and not the limits it leaves unused.
        return self._selected(labels, np.minimum(bound, labels.score) if self.selector.within_limits else bound)

    def _first_blocks(self, labels: Labels, step: int, depth: int, least: Array) -> Arcs:
        """Return the first blocks of a stage that may follow the states of `labels`."""
        problem, grid = self.problem, self.grid
        entry, into = np.divmod(labels.node, grid.channels[step].size)
        main = self.selector.completions[0]
        used, place = np.unique(into, return_inverse=True)
        rows = grid.channels[step][used]
        value = best_values(problem, shapes_of_stage(problem, grid, step, rows), main.prices)
        out = grid.channels[step + 1]
        value[:, :, rows[:, None] > out] = -np.inf
        value += (main.inside[step][depth] + channel_bonus(problem, grid, step, main.prices)[:, None, None])[:, None]
        reach = value[entry, :, place]
        source, following, channels, kernel, ratio = np.nonzero(reach > least[:, None, None, None, None])
        numbers = np.stack([channels, kernel, ratio], axis=1)
        return self._arcs(step, depth, source, following, numbers, grid.channels[step][into[source]], entry[source])

    def _repeated_blocks(self, labels: Labels, step: int, depth: int, least: Array) -> Arcs:
        """Return the repeats that may follow the states of `labels` inside a stage."""
        space, out = self.problem.space, self.grid.channels[step + 1]
        shape = (len(self.problem.entries), out.size, len(space.kernels), len(space.ratios))
        entry, *numbers = np.unravel_index(labels.node, shape)
        following = np.arange(shape[0])
        source, following = (found.ravel() for found in np.meshgrid(np.arange(len(labels)), following, indexing="ij"))
        chosen = np.stack(numbers, axis=1)[source]
        return self._arcs(step, depth, source, following, chosen, None, entry[source])

    def _arcs(
        self, step: int, depth: int, source: Array, following: Array, numbers: Array, into: Array | None, entry: Array
    ) -> Arcs:
        problem, space, out = self.problem, self.problem.space, self.grid.channels[step + 1]
        main = self.selector.completions[0]
        channels = out[numbers[:, 0]]
        blocks = problem.blocks(
            step,
            first=into is not None,
            in_channels=channels if into is None else into,
            out_channels=channels,
            kernel=np.array(space.kernels)[numbers[:, 1]],
            ratio=np.array(space.ratios)[numbers[:, 2]],
        )
        shapes = (out.size, len(space.kernels), len(space.ratios))
        node = np.ravel_multi_index((following, *numbers.T), (len(problem.entries), *shapes))
        follow = np.stack([c.inside[step][depth].ravel()[node] for c in self.selector.completions])
        weight = problem.score_weights[1][step + 1]
        ends = self.grid.end_terms(problem, step + 1)[numbers[:, 0]]
        bonus = weight * ends if into is not None else np.zeros(source.size)
        moves = numbers if into is not None else np.full_like(numbers, -1)
        return Arcs(
            source=source, node=node, numbers=moves, follow=follow, blocks=blocks, bonus=bonus,
            shape=np.ravel_multi_index(tuple(numbers.T), shapes), shapes=prod(shapes),
            worth=follow[0] + main.prices.score * bonus, entry=entry,
            following=following,
        )  # fmt: skip

    def _extend(self, labels: Labels, step: int, depth: int) -> Labels:
        """Return the labels that a stage's block number `depth` makes of `labels`, without those that lead nowhere."""
        main, selector = self.selector.completions[0], self.selector
        blocks_after, completed = (
            (self._first_blocks, main.after_stage[step])
            if depth == 1
            else (self._repeated_blocks, main.inside[step][depth - 1])
        )
        value = labels.score + (selector.limits - labels.costs) @ main.prices.multipliers
        order = np.lexsort((-value, labels.node))
        labels, value = labels.take(order), value[order]
        heads = np.flatnonzero(np.concatenate([[True], labels.node[1:] != labels.node[:-1]])) if len(labels) else order
        state = np.repeat(np.arange(heads.size), np.diff([*heads, len(labels)]))
        nearly_best = completed.ravel()[labels.node[heads]] - selector.regret
        least = np.maximum(selector.threshold - main.rounding(selector.limits) - value[heads], nearly_best)
        arcs = blocks_after(labels.take(heads), step, depth, least)
        choices = choices_within(
            self.problem, arcs.blocks, main.prices, arcs.entry, arcs.following, least[arcs.source] - arcs.worth
        )
        return self._joined(labels, value, state, arcs, choices)

    def _joined(self, labels: Labels, value: Array, state: Array, arcs: Arcs, choices: DecidedBlocks) -> Labels:
        # The choices of each state, best first: a label takes as many of them as still reach the threshold.
        selector = self.selector
        reach = choices.value + arcs.worth[choices.row]
        source = arcs.source[choices.row]
        order = np.lexsort((-reach, source))
        choices, reach, source = choices.take(order), reach[order], source[order]
        starts = np.searchsorted(source, np.arange(int(state.max(initial=-1)) + 1))
        least = selector.threshold - selector.completions[0].rounding(selector.limits) - value
        taken = taken_choices(reach, source, least, state, starts)
        first, *others = chunks(taken)
        best = self._best_of(self._candidates(labels, arcs, choices, starts[state], taken, first))
        for rows in others:
            best = self._best_of(best.joined(self._candidates(labels, arcs, choices, starts[state], taken, rows)))
        arc = choices.row[best.choice]
        return self._record(best.labels, np.concatenate([arcs.numbers[arc], choices.pairs[best.choice]], axis=1))

    def _best_of(self, candidates: Candidates) -> Candidates:
        return candidates.take(self.selector.keep(candidates.labels, candidates.bound))

    def _candidates(
        self, labels: Labels, arcs: Arcs, choices: DecidedBlocks, first: Array, taken: Array, rows: slice
    ) -> Candidates:
        """Return what the labels of `rows` become."""
        count = taken[rows]
        self.selector.look(int(count.sum()))
        parent = np.repeat(np.arange(rows.start, rows.stop), count)
        choice = first[parent] + np.arange(parent.size) - np.repeat(np.cumsum(count) - count, count)
        arc = choices.row[choice]
        score = labels.score[parent] + choices.score[choice] + arcs.bonus[arc]
        costs = labels.costs[parent] + choices.costs[choice]
        bound = self.selector.worth(score, costs, list(arcs.follow[:, arc]))
        kept = np.flatnonzero(bound > self.selector.threshold)
        parent, choice, arc, bound = parent[kept], choice[kept], arc[kept], bound[kept]
        family = labels.family[parent]
        found = Labels(
            node=arcs.node[arc],
            score=score[kept],
            costs=costs[kept],
            family=family * arcs.shapes + arcs.shape[arc] if self.by_shape else family,
            ident=labels.ident[parent],
        )
        return Candidates(labels=found, choice=choice, bound=bound)

    def _after_stage(self, labels: Labels, step: int) -> Labels:
        follow = [completion.after_stage[step].ravel()[labels.node] for completion in self.selector.completions]
        return self._selected(labels, self.selector.worth(labels.score, labels.costs, follow))

    def _selected(self, labels: Labels, bound: Array) -> Labels:
        rows = np.flatnonzero(bound > self.selector.threshold)
        labels, bound = labels.take(rows), bound[rows]
        return labels.take(self.selector.keep(labels, bound))

    def _record(self, labels: Labels, moves: Array) -> Labels:
        self.selector.made += len(labels)
        ident = self.trail.add(labels.ident, moves)
        if not self.by_shape:
            return replace(labels, ident=ident)
        # Families are numbered anew, so that the next block's shape still fits beside them in 64 bits.
        return replace(labels, ident=ident, family=np.unique(labels.family, return_inverse=True)[1])
