"""The least a structure of a space can cost, exactly: what an infeasible budget is compared with.

Costs that add up over layers are minimised stage by stage over the channels that go in and out; peak memory likewise,
as the least maximum. Every counted cost grows with kernel, bottleneck and depth, so the smallest of these are taken; it
does not always grow with the channels (a stage whose channels stay the same has a shortcut to pool or to hold). A
latency grows for certain with the depth alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from qedeploy.errors import RequestError
from qedeploy.latency.predictor import Role
from qedeploy.network.costs import BITOPS_PER_FLOP
from qedeploy.network.layers import LayerCategory
from qedeploy.search.costs.layer_times import Place, block_places, constant_seconds, layer_times
from qedeploy.search.costs.peak_memory import block_memory, head_memory, stem_memory
from qedeploy.search.costs.population_costs import BLOCK_KINDS, block_bits
from qedeploy.search.costs.terms import Array, LayerTerms, PairTerms, block_terms, convolution_terms, space_pair_terms
from qedeploy.search.space.budgets import format_budget
from qedeploy.search.space.space import BitsPer, BudgetKind, Budgets, SearchSpace, bottleneck_channels

LayerCost = Callable[[LayerTerms, PairTerms], Array]
"""The cost of layers [...] at each pair of a list: [..., pairs]."""


def require_feasible(space: SearchSpace, budgets: Budgets) -> None:
    """Raise RequestError naming each limit that no structure of `space` meets, with the least that one could."""
    found = {kind: minimum_cost(space, kind) for kind in budgets}
    broken = [
        f"{kind}={format_budget(kind, budgets[kind])} cannot be met: the smallest structure of the space "
        f"has {format_minimum(kind, least)}"
        for kind, least in found.items()
        if least > budgets[kind]
    ]
    if broken:
        raise RequestError(f"{'; '.join(broken)}; raise the limit, or take a recipe with smaller choices")


def require_times(space: SearchSpace) -> None:
    """Raise RequestError naming the first layers of `space` that its latency table has no times of."""
    times, size = layer_times(space), float(space.resolution)
    constant_seconds(space)
    times.table(Place(Role.STEM, space.stem_stride, size), (space.stem_bits,))
    size /= space.stem_stride
    for stride, depths in zip(space.strides, space.depths, strict=True):
        places = block_places(stride, size) + (block_places(1, size / stride) if max(depths) > 1 else ())
        for place, pairs in zip(places, block_bits(space) * 2, strict=False):
            times.table(place, pairs)
        size /= stride
    times.table(Place(Role.HEAD, 1, size), space.pairs[LayerCategory.HEAD])


def format_minimum(kind: BudgetKind, least: float) -> str:
    """Return `least` rounded up to what a person can put in as a limit that is met."""
    if kind is BudgetKind.LAYERS:
        return f"{least:.0f}"
    if kind is BudgetKind.LATENCY:
        scale = 10.0 ** (3 - math.floor(math.log10(least)))
        return format_budget(kind, math.ceil(least * scale) / scale)
    unit = " B" if kind in {BudgetKind.SIZE, BudgetKind.PEAK_MEMORY} else ""
    exact = f"{int(np.ceil(least))}{unit}"
    short = format_budget(kind, least)
    return exact if short == exact else f"{short} ({exact})"


def minimum_cost(space: SearchSpace, kind: BudgetKind) -> float:
    """Return the least cost of `kind` that a structure of `space` has, by the accounting of `network.costs`."""
    if kind is BudgetKind.LAYERS:
        return float(2 + 3 * sum(min(depths) for depths in space.depths))
    if kind is BudgetKind.PEAK_MEMORY:
        return _least_peak_memory(space)
    if kind is BudgetKind.LATENCY:
        return _least_seconds(space)
    return _least_sum(space, _layer_cost(kind))


def _layer_cost(kind: BudgetKind) -> LayerCost:
    def cost(terms: LayerTerms, pairs: PairTerms) -> Array:
        if kind is BudgetKind.SIZE:
            found = np.multiply.outer(terms.weights, pairs.weight_bytes) + np.asarray(terms.scale_bytes)[..., None]
        else:
            factors = pairs.executed if kind is BudgetKind.EXECUTED_BITOPS else pairs.nominal
            found = np.multiply.outer(terms.products, factors) + np.asarray(terms.fixed_flops)[..., None]
        return np.asarray(found if kind in {BudgetKind.SIZE, BudgetKind.FLOPS} else BITOPS_PER_FLOP * found)

    return cost


def _least_sum(space: SearchSpace, cost: LayerCost) -> float:
    channels, stems = np.array(space.channels), np.array(space.stem_channels)
    bottleneck = _least_bottlenecks(space)
    kernel, size = min(space.kernels), float(space.resolution)
    tables = [space_pair_terms(space, kind, bits) for kind, bits in zip(BLOCK_KINDS, block_bits(space), strict=True)]
    stem = convolution_terms(3, stems, space.stem_kernel, space.stem_stride, size, space.score)
    least = cost(stem, space_pair_terms(space, LayerCategory.STEM, (space.stem_bits,)))[:, 0]
    before, size = stems, size / space.stem_stride
    for stride, depths in zip(space.strides, space.depths, strict=True):
        first = block_terms(before[:, None], bottleneck, channels, kernel, stride, size, space.score)
        rest = block_terms(channels, bottleneck, channels, kernel, 1, size / stride, space.score)
        total = least[:, None] + _least_block(space, cost, first, tables)
        least = np.where(before[:, None] <= channels, total, np.inf).min(axis=0)
        least = least + (min(depths) - 1) * _least_block(space, cost, rest, tables)
        before, size = channels, size / stride
    head = convolution_terms(before, space.head_channels, 1, 1, size, space.score)
    pairs = space_pair_terms(space, LayerCategory.HEAD, space.pairs[LayerCategory.HEAD])
    return float((least + cost(head, pairs).min(axis=-1)).min())


def _least_block(space: SearchSpace, cost: LayerCost, layers: tuple[LayerTerms, ...], tables: list[PairTerms]) -> Array:
    costs = [cost(terms, pairs) for terms, pairs in zip(layers, tables, strict=True)]
    if space.bits_per is BitsPer.LAYER:
        return np.asarray(sum(np.min(part, axis=-1) for part in costs))
    return np.asarray(np.min(costs[0] + costs[1] + costs[2], axis=-1))


def _least_seconds(space: SearchSpace) -> float:
    times, channels = layer_times(space), np.array(space.channels)
    before, size = np.array(space.stem_channels), float(space.resolution)
    stem = Place(Role.STEM, space.stem_stride, size)
    least = constant_seconds(space) + times.every_pair(stem, (space.stem_bits,), times.index(Role.STEM, 3, before))[0]
    size /= space.stem_stride
    for stride, depths in zip(space.strides, space.depths, strict=True):
        first = _least_block_seconds(space, before[:, None], block_places(stride, size))
        # A stage's blocks share kernel and bottleneck, the last two axes; no layer takes less than no time.
        if min(depths) > 1:
            rest = _least_block_seconds(space, channels[None], block_places(1, size / stride))
            first = first + (min(depths) - 1) * rest
        total = least[:, None] + first.min(axis=(2, 3))
        least = np.where(before[:, None] <= channels, total, np.inf).min(axis=0)
        before, size = channels, size / stride
    pairs, index = space.pairs[LayerCategory.HEAD], times.index(Role.HEAD, before, space.head_channels)
    return float((least + times.every_pair(Place(Role.HEAD, 1, size), pairs, index).min(axis=0)).min())


def _least_block_seconds(space: SearchSpace, before: Array, places: tuple[Place, Place, Place]) -> Array:
    """Return the least seconds of blocks over their widths, [channels in, channels out, kernels, ratios]."""
    times = layer_times(space)
    into, out = before[:, :, None, None], np.array(space.channels)[:, None, None]
    middle = np.array([[bottleneck_channels(one, ratio) for ratio in space.ratios] for one in space.channels])[:, None]
    kernel = np.array(space.kernels)[:, None]
    found = [
        times.every_pair(place, pairs, times.index(place.role, in_channels, out_channels, kernel, into == out))
        for place, pairs, in_channels, out_channels in zip(
            places, block_bits(space), (into, middle, middle), (middle, middle, out), strict=True
        )
    ]
    if space.bits_per is BitsPer.LAYER:
        return np.asarray(sum(seconds.min(axis=0) for seconds in found))
    return np.asarray(np.min([sum(choice) for choice in zip(*found, strict=True)], axis=0))


def _least_peak_memory(space: SearchSpace) -> float:
    """Return the least maximum, by the channels and by the activation width that the next block begins with.

    Only the activation widths matter. A triple of them that another one nowhere exceeds is never needed: memory grows
    with each of them, that of the layer in front too.
    """
    channels, stems = np.array(space.channels), np.array(space.stem_channels)
    triples = _least_activations(space)
    head_bits = min(bits.activation for bits in space.pairs[LayerCategory.HEAD])
    entries = sorted({triple[0] for triple in triples} | {head_bits})
    begins = [entries.index(triple[0]) for triple in triples]
    # least[i, e]: the least peak so far with channels i, when the next layer reads activations of width e.
    least = stem_memory(space, stems[:, None], np.array(entries) / 8)
    before, size = stems, space.resolution / space.stem_stride
    for stride, depths in zip(space.strides, space.depths, strict=True):
        narrower = (before[:, None] > channels)[:, :, None]
        memory = _block_memories(space, before[:, None, None], stride, size, triples, entries)
        memory = np.maximum(memory, np.where(narrower, np.inf, 0.0))
        reached = np.maximum(least[:, begins].T[:, :, None, None], memory).min(axis=(0, 1))
        memory = _block_memories(space, channels[None, :, None], 1, size / stride, triples, entries)[:, 0]
        least = np.full_like(reached, np.inf)
        for depth in range(1, max(depths) + 1):
            if depth > 1:
                reached = np.maximum(reached[:, begins].T[:, :, None], memory).min(axis=0)
            if depth in depths:
                least = np.minimum(least, reached)
        before, size = channels, size / stride
    head = head_memory(space, size, before, head_bits / 8)
    return float(np.maximum(least[:, entries.index(head_bits)], head).min())


def _block_memories(
    space: SearchSpace, before: Array, stride: int, size: float, triples: list[tuple[int, int, int]], entries: list[int]
) -> Array:
    """Return the peak memory of blocks, [triples, channels in, channels out, entry widths of the layer behind]."""
    out, bottleneck = np.array(space.channels)[:, None], _least_bottlenecks(space)[:, None]
    following = np.array(entries) / 8
    return np.stack(
        [
            block_memory(before, bottleneck, out, stride, size, (first / 8, second / 8, third / 8, following))
            for first, second, third in triples
        ]
    )


def _least_activations(space: SearchSpace) -> list[tuple[int, int, int]]:
    bits = block_bits(space)
    if space.bits_per is BitsPer.LAYER:
        least = [min(pair.activation for pair in pairs) for pairs in bits]
        return [(least[0], least[1], least[2])]
    triples = {(one.activation, two.activation, three.activation) for one, two, three in zip(*bits, strict=True)}
    return sorted(
        triple
        for triple in triples
        if not any(other != triple and all(a <= b for a, b in zip(other, triple, strict=True)) for other in triples)
    )


def _least_bottlenecks(space: SearchSpace) -> Array:
    return np.array([bottleneck_channels(out, min(space.ratios)) for out in space.channels])
