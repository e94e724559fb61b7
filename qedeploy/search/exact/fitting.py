"""Where layers keep a limit of peak memory, and the widths of blocks whose layers choose theirs under one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qedeploy.search.exact.pricing import PricedLayer, maximum
from qedeploy.search.exact.problem import BlockShapes, Problem
from qedeploy.search.memory import (
    block_memory,
    depthwise_memory,
    expand_memory,
    head_memory,
    project_memory,
    stem_memory,
)
from qedeploy.search.terms import Array


def block_fits(problem: Problem, blocks: BlockShapes, activations: tuple[int, int, int], following: int) -> Array:
    """Say where a block keeps the peak memory, its activations these wide and those of the next layer `following`.

    All widths are in bits.
    """
    limit = np.inf if problem.peak_memory is None else problem.peak_memory
    in_bytes = tuple(width / 8 for width in (*activations, following))
    held = block_memory(
        blocks.in_channels, blocks.bottleneck, blocks.out_channels, blocks.stride, blocks.size, in_bytes
    )
    return np.asarray(held <= limit)


def stem_fits(problem: Problem, channels: Array, following: int) -> Array:
    """Say where the stem keeps the peak memory, the next layer's activations `following` bits wide."""
    if problem.peak_memory is None:
        return np.ones(channels.shape, bool)
    return stem_memory(problem.space, channels, following / 8) <= problem.peak_memory


def head_fits(problem: Problem, channels: Array) -> Array:
    """Say where the head keeps the peak memory, shape [channels, pairs]."""
    activations = np.array([bits.activation for bits in problem.head_pairs.bits])
    if problem.peak_memory is None:
        return np.ones((channels.size, activations.size), bool)
    return head_memory(problem.space, problem.sizes[-1], channels[:, None], activations / 8) <= problem.peak_memory


def fill_layer_by_layer(
    problem: Problem, blocks: BlockShapes, priced: Sequence[PricedLayer], best: Array, limit: float
) -> None:
    """Fill `best`, shape [entry, next entry, *blocks], with the best of the widths that the memory `limit` allows.

    That is what all groups of widths would give, one after the other: one layer's widths at a time, since a narrower
    activation fits wherever a wider one does. What a project layer may hold under two limits is then the lesser of what
    it may hold under each, and the layer behind the block need not be looked at together with those before it.
    """
    expand, depthwise, project = (
        {width: maximum([layer.value(pair) for pair in index]) for width, index in widths.items()}
        for layer, widths in zip(priced, problem.layer_widths, strict=True)
    )
    entries = [problem.entries.index(width) for width in expand]
    widest = (max(expand), max(depthwise), max(project))
    if block_fits(problem, blocks, widest, max(problem.entries)).all():
        behind_expand = maximum(list(depthwise.values())) + maximum(list(project.values()))
        for entry, value in zip(entries, expand.values(), strict=True):
            best[entry] = value + behind_expand
        return
    into, middle, out, stride, size = _shape(blocks)

    def where_it_fits(held: Array, value: Array) -> Array:
        return np.where(held <= limit, value, -np.inf)

    behind = [
        maximum(
            [
                where_it_fits(project_memory(middle, out, stride, size, own / 8, following / 8), value)
                for own, value in project.items()
            ]
        )
        for following in problem.entries
    ]

    most = maximum(list(project.values()))

    def ahead(first: int, second: int, *, residual: bool) -> Array:
        def held(own: int) -> Array:
            return depthwise_memory(residual, middle, out, stride, size, first / 8, second / 8, own / 8)

        if (held(widest[2]) <= limit).all():
            return most
        return maximum([where_it_fits(held(own), value) for own, value in project.items()])

    # Only a shortcut ties what a depthwise layer holds to the channels and the width that enter the block.
    residual = np.equal(into, out)
    without = {second: ahead(0, second, residual=False) for second in depthwise}
    for entry, (first, value) in zip(entries, expand.items(), strict=True):
        for second, gained in depthwise.items():
            reached = np.where(residual, ahead(first, second, residual=True), without[second])
            added = where_it_fits(expand_memory(into, middle, size, first / 8, second / 8), gained)
            for following, least in enumerate(behind):
                worth = added + np.minimum(reached, least)
                np.maximum(best[entry, following], worth, out=best[entry, following])
        best[entry] += value


def choices_layer_by_layer(
    problem: Problem,
    blocks: BlockShapes,
    priced: Sequence[PricedLayer],
    entry: Array,
    following: Array,
    least: Array,
    limit: float,
) -> tuple[Array, Array, Array]:
    """Return every choice of widths for one-dimensional `blocks` that is worth `least` and keeps the memory `limit`.

    The three arrays are the rows of the blocks, the pairs [choices, 3] and the values; `entry` and `following` are each
    block's class of first activation width and of the next layer's.
    """
    count, entries = least.size, np.array(problem.entries)
    indices = [np.concatenate(list(widths.values())) for widths in problem.layer_widths]
    read = [
        np.array([pairs.bits[pair].activation for pair in index]) / 8
        for pairs, index in zip(problem.block_pairs, indices, strict=True)
    ]
    tables = [
        np.stack([np.broadcast_to(layer.value(pair), count) for pair in index], axis=1)
        for layer, index in zip(priced, indices, strict=True)
    ]
    into, middle, out = (
        np.broadcast_to(c, count) for c in (blocks.in_channels, blocks.bottleneck, blocks.out_channels)
    )
    stride, size = blocks.stride, blocks.size
    tables[0] = np.where(read[0] == entries[entry][:, None] / 8, tables[0], -np.inf)
    held = project_memory(middle[:, None], out[:, None], stride, size, read[2], entries[following][:, None] / 8)
    tables[2] = np.where(held <= limit, tables[2], -np.inf)
    best = np.sum([np.broadcast_to(layer.fixed, count) for layer in priced] + [t.max(axis=1) for t in tables], axis=0)
    row = np.flatnonzero(best > -np.inf)
    value, chosen = best[row], np.empty((row.size, 0), np.int64)
    for position, table in enumerate(tables):
        # What is kept can still reach `least` with the best widths of the layers that follow.
        extended = value[:, None] - (table.max(axis=1, keepdims=True)[row] - table[row])
        kept, number = np.nonzero((extended >= least[row][:, None]) & (extended > -np.inf))
        row, value, chosen = row[kept], extended[kept, number], np.column_stack([chosen[kept], number])
        if position == 0:
            continue
        first, second = read[0][chosen[:, 0]], read[1][chosen[:, 1]]
        if position == 1:
            held = expand_memory(into[row], middle[row], size, first, second)
        else:
            third = read[2][chosen[:, 2]]
            held = depthwise_memory(into[row] == out[row], middle[row], out[row], stride, size, first, second, third)
        fits = held <= limit
        row, value, chosen = row[fits], value[fits], chosen[fits]
    pairs = np.column_stack([index[chosen[:, position]] for position, index in enumerate(indices)])
    return row, pairs, value


def _shape(blocks: BlockShapes) -> tuple[Array, Array, Array, int, float]:
    return blocks.in_channels, blocks.bottleneck, blocks.out_channels, blocks.stride, blocks.size
