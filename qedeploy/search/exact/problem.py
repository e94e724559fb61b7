"""A search space with its limits, in the terms of the solver: steps, prices, and the widths each step chooses from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np

from qedeploy.errors import RequestError
from qedeploy.network.structure import Bits, Structure
from qedeploy.search.costs.budget import AdditiveBudget
from qedeploy.search.costs.budgets.peak_memory import PEAK_MEMORY
from qedeploy.search.costs.peak_budget import BlockSize, PeakBudget
from qedeploy.search.costs.registry import Budgets, keeps
from qedeploy.search.exact.costs import Limit, SolverLayers, bring_terms
from qedeploy.search.space.layers import Array, Layers, Pairs
from qedeploy.search.space.space import ROUND_CHANNELS, BitsPer, SearchSpace
from qedeploy.search.space.space_layers import SpaceLayers


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """What a unit is worth: `score` weighs the score (1, or 0 to look at costs alone), `multipliers` the costs."""

    multipliers: Array
    score: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WidthGroup:
    """Widths of a block whose activations are alike, as indices into the pairs of its three layers.

    With widths per block the three lists go together, entry by entry; with widths per layer each is free.
    `entry` is the class of the first activation width, `activations` all three (None when memory is not limited).
    """

    indices: tuple[Array, Array, Array]
    entry: int
    activations: tuple[int, int, int] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockShapes:
    """Inverted bottlenecks as arrays that broadcast together; the shape is that of the broadcast."""

    layers: tuple[SolverLayers, SolverLayers, SolverLayers]
    step: int
    stride: int
    size: float

    def row(self, number: int) -> BlockShapes:
        """Return the blocks of one row of the first axis, which stays."""
        expand, depthwise, project = (layers.row(number) for layers in self.layers)
        return BlockShapes(layers=(expand, depthwise, project), step=self.step, stride=self.stride, size=self.size)

    @property
    def in_channels(self) -> Array:
        """Channels that enter the block."""
        return self.layers[0].layers.in_channels

    @property
    def bottleneck(self) -> Array:
        """Channels of the depthwise layer."""
        return self.layers[1].layers.out_channels

    @property
    def out_channels(self) -> Array:
        """Channels that leave the block."""
        return self.layers[2].layers.out_channels

    @property
    def sizes(self) -> BlockSize:
        """What of the blocks costs that are maxima depend on."""
        return BlockSize(
            in_channels=self.in_channels,
            bottleneck=self.bottleneck,
            out_channels=self.out_channels,
            kernel=self.layers[1].layers.kernel,
            stride=self.stride,
            size=self.size,
        )


@dataclass(frozen=True)
class Problem:
    """Find the best score of `space` with every one of `costs`, of `peaks` and the peak memory within its limit.

    `costs` are the `budgets` that add up over layers, `peaks` those that are maxima of what shapes decide.
    """

    space: SearchSpace
    budgets: Budgets
    costs: tuple[Limit, ...]

    @classmethod
    def of(cls, space: SearchSpace, budgets: Budgets) -> Problem:
        """Return the problem of `space` under `budgets`; raises RequestError for one that the solver cannot keep."""
        costs = []
        for budget, limit in budgets.items():
            if isinstance(budget, AdditiveBudget):
                costs.append(Limit(budget=budget, limit=limit, constant=budget.constant(space)))
            elif budget != PEAK_MEMORY and not isinstance(budget, PeakBudget):
                raise RequestError(
                    f"budget {budget}: the exact method needs budgets that add up over layers, and this one does not: "
                    "search with --method evolution"
                )
        return cls(space, dict(budgets), tuple(costs))

    @property
    def peak_memory(self) -> float | None:
        """The most bytes of activations that may be alive at once, None without a limit."""
        return self.budgets.get(PEAK_MEMORY)

    @cached_property
    def peaks(self) -> tuple[tuple[PeakBudget, float], ...]:
        """What no part of a structure may exceed."""
        return tuple((budget, limit) for budget, limit in self.budgets.items() if isinstance(budget, PeakBudget))

    @cached_property
    def limits(self) -> Array:
        """What the layers may cost together, one entry for each cost."""
        return np.array([cost.limit - cost.constant for cost in self.costs])

    @cached_property
    def score_weights(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """For stem, stages and head: how often an entropy counts in the score, and the weight of ln(out channels)."""
        return self.space.score.weights((self.space.stem_stride, *self.space.strides, 1))

    @cached_property
    def head_end(self) -> float:
        """What the channels of the head add to the score."""
        return float(self.space.score.end_term(np.array(self.space.head_channels)))

    @cached_property
    def made(self) -> SpaceLayers:
        """The layers of the space."""
        return SpaceLayers(self.space)

    @property
    def sizes(self) -> tuple[float, ...]:
        """Nominal input size in pixels of each stage, then of the head."""
        return self.made.sizes

    @property
    def block_pairs(self) -> tuple[Pairs, Pairs, Pairs]:
        """The pairs of a block's expand, depthwise and project layer."""
        return self.made.block_pairs

    @property
    def head_pairs(self) -> Pairs:
        """The pairs of the head."""
        return self.made.head_pairs

    @cached_property
    def entries(self) -> tuple[int, ...]:
        """Activation widths a block or the head may begin with: they decide what the layer before must hold.

        A single class, 0, when memory is not limited.
        """
        if self.peak_memory is None:
            return (0,)
        first = (*self.block_pairs[0].bits, *self.head_pairs.bits)
        return tuple(sorted({bits.activation for bits in first}))

    def entry(self, bits: Bits) -> int:
        """Return the index in `entries` of a layer's activation width."""
        return 0 if self.peak_memory is None else self.entries.index(bits.activation)

    @cached_property
    def groups(self) -> tuple[WidthGroup, ...]:
        """The widths of a block, one group for each triple of activation widths (one group without a memory limit)."""
        if self.peak_memory is None:
            every = [np.ones(len(pairs.bits), bool) for pairs in self.block_pairs]
            return (WidthGroup(indices=self._useful(every), entry=0, activations=None),)
        widths = [np.array([bits.activation for bits in pairs.bits]) for pairs in self.block_pairs]
        groups = []
        for triple in product(*(sorted(set(found.tolist())) for found in widths)):
            indices = self._useful([found == width for found, width in zip(widths, triple, strict=True)])
            if all(found.size for found in indices):
                groups.append(WidthGroup(indices=indices, entry=self.entries.index(triple[0]), activations=triple))
        return tuple(groups)

    @cached_property
    def layer_widths(self) -> tuple[dict[int, Array], dict[int, Array], dict[int, Array]]:
        """For each layer of a block that chooses its own widths: indices of its pairs by activation width."""
        if self.peak_memory is None or not self.widths_per_layer:
            raise ValueError("widths are grouped by activation where memory is limited and each layer has its own")
        found: tuple[dict[int, Array], dict[int, Array], dict[int, Array]] = ({}, {}, {})
        for group in self.groups:
            for widths, activation, index in zip(found, group.activations or (), group.indices, strict=True):
                widths[activation] = index
        return found

    def blocks(
        self, step: int, *, first: bool, in_channels: Array, out_channels: Array, kernel: Array, ratio: Array
    ) -> BlockShapes:
        """Return blocks of stage `step` (from 0): its `first` one, or a repeat, whose channels do not change."""
        middle = _bottlenecks(out_channels, ratio)
        made = self.made.block(step, first=first, into=in_channels, middle=middle, out=out_channels, kernel=kernel)
        expand, depthwise, project = map(self._with_terms, made)
        place = made[1].place
        return BlockShapes(layers=(expand, depthwise, project), step=step, stride=place.stride, size=place.size)

    def stem(self, channels: Array) -> SolverLayers:
        """Return stems of these widths."""
        return self._with_terms(self.made.stem(channels))

    def head(self, channels: Array) -> SolverLayers:
        """Return heads that read these channels."""
        return self._with_terms(self.made.head(channels))

    def satisfied(self, structure: Structure) -> bool:
        """Say whether a structure keeps every limit, judged layer by layer."""
        return keeps(structure, self.space, self.budgets)

    @property
    def widths_per_layer(self) -> bool:
        """Whether each layer of a block chooses its widths on its own."""
        return self.space.bits_per is BitsPer.LAYER

    def _useful(self, allowed: Sequence[Array]) -> tuple[Array, Array, Array]:
        # Widths that cost no less and score no more than others, whatever the shape, are never needed.
        gains = [self.gains(pairs) for pairs in self.block_pairs]
        some = self.blocks(
            0,
            first=True,
            in_channels=np.array(self.space.stem_channels[0]),
            out_channels=np.array(self.space.channels[-1]),
            kernel=np.array(self.space.kernels[0]),
            ratio=np.array(self.space.ratios[0]),
        )
        factors = [_factors(layers) for layers in some.layers]
        if self.widths_per_layer:
            chosen = [np.flatnonzero(mask) for mask in allowed]
            rows = zip(chosen, gains, factors, strict=True)
            first, second, third = (index[_undominated(gain[index], factor[:, index])] for index, gain, factor in rows)
            return first, second, third
        index = np.flatnonzero(allowed[0] & allowed[1] & allowed[2])
        index = index[_undominated(np.sum(gains, axis=0)[index], np.concatenate(factors)[:, index])]
        return index, index, index

    def gains(self, pairs: Pairs) -> Array:
        """Return what each of `pairs` adds to the score, [pairs]."""
        if id(pairs) not in self._gains:
            terms = [self.space.score.pair_term(pairs.kind, bits) for bits in pairs.bits]
            self._gains[id(pairs)] = np.array(terms)
        return self._gains[id(pairs)]

    @cached_property
    def _gains(self) -> dict[int, Array]:
        return {}

    def _with_terms(self, layers: Layers) -> SolverLayers:
        return bring_terms(self.space, self.costs, layers, self.gains(layers.pairs))


def _factors(layers: SolverLayers) -> Array:
    factors = [part.factor for parts in layers.costs for part in parts]
    return np.array(factors).reshape(len(factors), layers.gains.size)


def _bottlenecks(out_channels: Array, ratio: Array) -> Array:
    # np.rint takes halves to the even neighbour, as Python's round does in `space.bottleneck_channels`.
    rounded = np.rint(np.multiply(out_channels, ratio) / ROUND_CHANNELS) * ROUND_CHANNELS
    found: Array = np.maximum(ROUND_CHANNELS, rounded).astype(np.int64)
    return found


def _undominated(gain: Array, factors: Array) -> Array:
    """Return the positions that no other one beats in gain and in every factor; of equals the first stays."""
    no_worse = (gain[:, None] >= gain) & (factors[:, :, None] <= factors[:, None, :]).all(axis=0)
    earlier = np.arange(gain.size)[:, None] < np.arange(gain.size)
    beaten = (no_worse & (~no_worse.T | earlier)).any(axis=0)
    return np.flatnonzero(~beaten)
