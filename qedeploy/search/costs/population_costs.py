"""Score and costs of many structures at once, from arrays of their shapes and widths.

The sums are those of `search.terms`; tests hold them equal to `network.costs` and `search.score`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from qedeploy.latency.predictor import Role
from qedeploy.network.costs import BITOPS_PER_FLOP
from qedeploy.network.layers import LayerCategory
from qedeploy.network.structure import Bits
from qedeploy.search.costs.layer_times import Place, block_places, constant_seconds, layer_times
from qedeploy.search.costs.peak_memory import block_memory, head_memory, stem_memory
from qedeploy.search.costs.terms import Array, LayerTerms, PairTerms, block_terms, convolution_terms, space_pair_terms
from qedeploy.search.score.score import ScoreKind, feature_sizes, score_weights
from qedeploy.search.space.space import BitsPer, BudgetKind, SearchSpace

BLOCK_KINDS = (LayerCategory.POINTWISE, LayerCategory.DEPTHWISE, LayerCategory.POINTWISE)
"""Kinds of a block's layers, in the order in which data meets them."""

_FLOPS = frozenset({BudgetKind.FLOPS, BudgetKind.BITOPS})
_SUMMED = _FLOPS | {BudgetKind.EXECUTED_BITOPS, BudgetKind.SIZE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shapes:
    """N structures as values: what a structure's costs and score depend on.

    `stem`, `head` (index of its pair): [N]; `channels`, `kernels`, `bottlenecks`, `depths`: [stages, N];
    `widths`: [stages, blocks, 1 or 3, N], indices into the choices of a block, or into the pairs of its three layers.
    Blocks beyond a stage's depth count for nothing.
    """

    stem: Array
    head: Array
    channels: Array
    kernels: Array
    bottlenecks: Array
    depths: Array
    widths: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """Score and costs of N structures, each array [N]."""

    score: Array
    costs: dict[BudgetKind, Array]


class Meter:
    """What structures of one space score and cost."""

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self.block_bits = block_bits(space)
        self._pairs = [
            _padded(space_pair_terms(space, kind, bits))
            for kind, bits in zip(BLOCK_KINDS, self.block_bits, strict=True)
        ]
        self._stem_pair = space_pair_terms(space, LayerCategory.STEM, (space.stem_bits,))
        self._head_pairs = space_pair_terms(space, LayerCategory.HEAD, space.pairs[LayerCategory.HEAD])
        self._entropy_weights, self._channel_weights = score_weights(
            (space.stem_stride, *space.strides, 1), space.score.stage_ratios
        )

    def measure(self, shapes: Shapes, kinds: Iterable[BudgetKind]) -> Measures:
        """Return the score of N structures and their costs of `kinds`."""
        kinds = set(kinds)
        sums = _Sums(shapes.stem.size)
        outs = [shapes.stem, *shapes.channels, np.array(self.space.head_channels)]
        weights = self._weights_of_entropy(outs)
        size = float(self.space.resolution)
        stem = convolution_terms(3, shapes.stem, self.space.stem_kernel, self.space.stem_stride, size, self.space.score)
        sums.add(stem, _Factors.of(self._stem_pair, np.zeros(shapes.stem.size, np.intp), 1, kinds), kinds)
        sums.score += weights[0] * (stem.entropy + self._stem_pair.entropy[0])
        size /= self.space.stem_stride
        before = shapes.stem
        for stage, stride in enumerate(self.space.strides):
            entropy = self._add_stage(sums, shapes, stage, before, size, kinds)
            if self._entropy_weights[stage + 1]:
                sums.score += weights[stage + 1] * entropy
            before, size = shapes.channels[stage], size / stride
        head = convolution_terms(before, self.space.head_channels, 1, 1, size, self.space.score)
        sums.add(head, _Factors.of(self._head_pairs, shapes.head, 1, kinds), kinds)
        sums.score += weights[-1] * (head.entropy + self._head_pairs.entropy[shapes.head])
        for weight, out in zip(self._channel_weights, outs, strict=True):
            if weight and self.space.score.kind is ScoreKind.MADNAS:
                sums.score += weight * np.log(out)
        costs = {kind: sums.cost(kind) for kind in kinds & _SUMMED}
        if BudgetKind.LAYERS in kinds:
            costs[BudgetKind.LAYERS] = 2.0 + 3.0 * shapes.depths.sum(axis=0)
        if BudgetKind.PEAK_MEMORY in kinds:
            costs[BudgetKind.PEAK_MEMORY] = self._peak_memory(shapes)
        if BudgetKind.LATENCY in kinds:
            costs[BudgetKind.LATENCY] = self._seconds(shapes)
        return Measures(score=sums.score, costs={kind: costs[kind] for kind in BudgetKind if kind in costs})

    def _live(self, shapes: Shapes, stage: int, position: int) -> Array:
        # A block beyond the depth takes the entry behind the last pair, where every term is zero.
        widths = shapes.widths[stage, :, min(position, shapes.widths.shape[2] - 1)]
        dead = np.arange(shapes.widths.shape[1])[:, None] >= shapes.depths[stage]
        return np.where(dead, len(self.block_bits[position]), widths)

    def _add_stage(
        self, sums: _Sums, shapes: Shapes, stage: int, before: Array, size: float, kinds: set[BudgetKind]
    ) -> Array:
        """Add the costs of a stage, and return its entropy, [N], or zeros where the score does not count it."""
        stride, depth = self.space.strides[stage], shapes.depths[stage]
        out, bottleneck, kernel = shapes.channels[stage], shapes.bottlenecks[stage], shapes.kernels[stage]
        first = block_terms(before, bottleneck, out, kernel, stride, size, self.space.score)
        rest = block_terms(out, bottleneck, out, kernel, 1, size / stride, self.space.score)
        entropy = np.zeros(depth.size)
        for position, (one, other) in enumerate(zip(first, rest, strict=True)):
            live, pairs = self._live(shapes, stage, position), self._pairs[position]
            sums.add(one, _Factors.of(pairs, live[0], 1, kinds), kinds)
            if shapes.widths.shape[1] > 1:
                sums.add(other, _Factors.of(pairs, live[1:], depth - 1, kinds), kinds)
            if self._entropy_weights[stage + 1]:
                entropy += one.entropy + (depth - 1) * other.entropy + pairs.entropy[live].sum(axis=0)
        return entropy

    def _weights_of_entropy(self, outs: Sequence[Array]) -> Sequence[Array | float]:
        if self.space.score.kind is ScoreKind.MADNAS:
            return self._entropy_weights
        # DeepMAD multiplies a stage's entropy by what its end puts out, so each block counts with every end behind it.
        strides = (self.space.stem_stride, *self.space.strides, 1)
        sizes = feature_sizes(self.space.resolution, strides)
        weighted = [
            weight * (np.log(out) + np.log(size**2)) if weight else np.zeros(1)
            for weight, out, size in zip(self._channel_weights, outs, sizes, strict=True)
        ]
        return [np.sum(np.broadcast_arrays(*weighted[block:]), axis=0) for block in range(len(weighted))]

    def _seconds(self, shapes: Shapes) -> Array:
        space, times = self.space, layer_times(self.space)
        size = float(space.resolution)
        stem = times.table(Place(Role.STEM, space.stem_stride, size), (space.stem_bits,))[0]
        total = constant_seconds(space) + stem[times.index(Role.STEM, 3, shapes.stem)]
        before, size = shapes.stem, size / space.stem_stride
        for stage, stride in enumerate(space.strides):
            out, middle, kernel = shapes.channels[stage], shapes.bottlenecks[stage], shapes.kernels[stage]
            first, rest = block_places(stride, size), block_places(1, size / stride)
            for position, (into, behind) in enumerate(((before, middle), (middle, middle), (middle, out))):
                role, pairs = first[position].role, self.block_bits[position]
                live = self._live(shapes, stage, position)
                index = times.index(role, into, behind, kernel, before == out)
                total += times.table(first[position], pairs)[(live[0], *index)]
                if len(live) > 1:
                    if role is not Role.DEPTHWISE:
                        index = times.index(role, out if role is Role.EXPAND else middle, behind, kernel, True)
                    total += times.table(rest[position], pairs)[(live[1:], *index)].sum(axis=0)
            before, size = out, size / stride
        heads = times.table(Place(Role.HEAD, 1, size), space.pairs[LayerCategory.HEAD])
        return np.asarray(total + heads[(shapes.head, *times.index(Role.HEAD, before, space.head_channels))])

    def _peak_memory(self, shapes: Shapes) -> Array:
        space = self.space
        size = space.resolution / space.stem_stride
        head_bytes = self._head_pairs.activation_bytes[shapes.head]
        expand, depthwise, project = (
            np.stack(
                [pairs.activation_bytes[self._live(shapes, stage, position)] for stage in range(len(space.strides))]
            )
            for position, pairs in enumerate(self._pairs)
        )
        entries = [*expand[:, 0], head_bytes]
        peak = stem_memory(space, shapes.stem, entries[0])
        before = shapes.stem
        for stage, stride in enumerate(space.strides):
            out, bottleneck, depth = shapes.channels[stage], shapes.bottlenecks[stage], shapes.depths[stage]
            for block in range(shapes.widths.shape[1]):
                following = entries[stage + 1]
                if block + 1 < shapes.widths.shape[1]:
                    following = np.where(depth > block + 1, expand[stage, block + 1], following)
                bits = (expand[stage, block], depthwise[stage, block], project[stage, block], following)
                memory = block_memory(before, bottleneck, out, stride if block == 0 else 1, size, bits)
                peak = np.where(depth > block, np.maximum(peak, memory), peak)
                before, size = out, size / stride if block == 0 else size
        return np.asarray(np.maximum(peak, head_memory(space, size, before, head_bytes)))


def block_bits(space: SearchSpace) -> tuple[tuple[Bits, ...], tuple[Bits, ...], tuple[Bits, ...]]:
    """Return the pairs that a gene of widths stands for, in a block's expand, depthwise and project layer."""
    if space.bits_per is BitsPer.LAYER:
        pointwise, depthwise = space.pairs[LayerCategory.POINTWISE], space.pairs[LayerCategory.DEPTHWISE]
        return pointwise, depthwise, pointwise
    choices = space.block_choices
    return (
        # The blocks of a space always expand: a bottleneck has a ratio there.
        tuple(block.expand for block in choices if block.expand is not None),
        tuple(block.depthwise for block in choices),
        tuple(block.project for block in choices),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Factors:
    """What the widths multiply a layer's shape with, added over the layers of that shape; `count` says how many."""

    nominal: Array | None
    executed: Array | None
    weight_bytes: Array | None
    count: Array | int

    @classmethod
    def of(cls, pairs: PairTerms, index: Array, count: Array | int, kinds: set[BudgetKind]) -> _Factors:
        def gathered(table: Array) -> Array:
            found: Array = table[index]
            return found if found.ndim == 1 else found.sum(axis=0)

        return cls(
            nominal=gathered(pairs.nominal) if kinds & _FLOPS else None,
            executed=gathered(pairs.executed) if BudgetKind.EXECUTED_BITOPS in kinds else None,
            weight_bytes=gathered(pairs.weight_bytes) if BudgetKind.SIZE in kinds else None,
            count=count,
        )


class _Sums:
    """Score and costs while layers are added up."""

    def __init__(self, members: int) -> None:
        self.score = np.zeros(members)
        self.flops = np.zeros(members)
        self.executed = np.zeros(members)
        self.size = np.zeros(members)

    def add(self, terms: LayerTerms, factors: _Factors, kinds: set[BudgetKind]) -> None:
        if factors.nominal is not None:
            self.flops += terms.products * factors.nominal + terms.fixed_flops * factors.count
        if factors.executed is not None:
            self.executed += terms.products * factors.executed + terms.fixed_flops * factors.count
        if factors.weight_bytes is not None:
            self.size += terms.weights * factors.weight_bytes + terms.scale_bytes * factors.count

    def cost(self, kind: BudgetKind) -> Array:
        if kind is BudgetKind.FLOPS:
            return self.flops
        if kind is BudgetKind.SIZE:
            return self.size
        return BITOPS_PER_FLOP * (self.flops if kind is BudgetKind.BITOPS else self.executed)


def _padded(terms: PairTerms) -> PairTerms:
    return PairTerms(**{name: np.append(getattr(terms, name), 0.0) for name in PairTerms.__slots__})
