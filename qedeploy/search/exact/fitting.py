"""Where layers keep a limit of memory, and the widths of blocks whose layers choose theirs under one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from qedeploy.search.costs.peak_memory import depthwise_memory, expand_memory, head_memory, project_memory, stem_memory
from qedeploy.search.exact.pricing import PricedLayer, maximum
from qedeploy.search.exact.problem import BlockShapes, Problem
from qedeploy.search.space.layers import Array


def inside_fits(problem: Problem, blocks: BlockShapes, activations: tuple[int, int, int]) -> Array:
    """Say where the first two layers of a block keep the peak memory, its activations this many bits wide."""
    into, middle, out, stride, size = _shape(blocks)
    first, second, third = (width / 8 for width in activations)
    limit, residual = _limit(problem), np.equal(into, out)
    held = depthwise_memory(residual, middle, out, stride, size, first, second, third)
    return np.asarray((expand_memory(into, middle, size, first, second) <= limit) & (held <= limit))


def behind_fits(problem: Problem, blocks: BlockShapes, own: int, following: Array | int) -> Array:
    """Say where the project layer does, its activations `own` bits wide and those of the next layer `following`."""
    _, middle, out, stride, size = _shape(blocks)
    return np.asarray(project_memory(middle, out, stride, size, own / 8, following / 8) <= _limit(problem))


def stem_fits(problem: Problem, channels: Array, following: int) -> Array:
    """Say where the stem keeps what is limited, the next layer's activations `following` bits wide."""
    fits = np.ones(channels.shape, bool)
    if problem.peak_memory is not None:
        fits = stem_memory(problem.space, channels, following / 8) <= problem.peak_memory
    for budget, limit in problem.peaks:
        fits = fits & (budget.stem(problem.space, channels) <= limit)
    return fits


def shape_fits(problem: Problem, blocks: BlockShapes) -> Array | None:
    """Say where blocks keep what their shapes alone decide, None where nothing of the kind is limited."""
    fits: Array | None = None
    for budget, limit in problem.peaks:
        kept = budget.block(problem.space, blocks.sizes) <= limit
        fits = kept if fits is None else fits & kept
    return fits


def head_fits(problem: Problem, channels: Array) -> Array:
    """Say where the head keeps what is limited, shape [channels, pairs]."""
    activations, size = problem.head_pairs.activation, problem.sizes[-1]
    fits = np.ones((channels.size, activations.size), bool)
    if problem.peak_memory is not None:
        fits = head_memory(problem.space, size, channels[:, None], activations / 8) <= problem.peak_memory
    for budget, limit in problem.peaks:
        fits = fits & (budget.head(problem.space, size, channels) <= limit)[:, None]
    return fits


def fill_layer_by_layer(
    problem: Problem, blocks: BlockShapes, priced: Sequence[PricedLayer], best: Array, limit: float
) -> None:
    """Fill `best`, shape [entry, next entry, *blocks], with the best of the widths that the memory `limit` allows.

    That is what all groups of widths would give, one after the other: one layer's widths at a time, since a narrower
    activation fits wherever a wider one does. What a project layer may hold under two limits is then the lesser of what
    it may hold under each, and the layer behind the block need not be looked at together with those before it.
    """
    dimensions = best.ndim - 2
    (first, expand), (second, depthwise), (third, project) = (
        _stacked(layer, widths, dimensions) for layer, widths in zip(priced, problem.layer_widths, strict=True)
    )
    entries = [problem.entries.index(width) for width in problem.layer_widths[0]]
    widest = max(problem.layer_widths[0]), max(problem.layer_widths[1]), max(problem.layer_widths[2])
    behind_widest = behind_fits(problem, blocks, widest[2], max(problem.entries))
    if behind_widest.all() and inside_fits(problem, blocks, widest).all():
        best[entries] = (expand + (depthwise.max(axis=0) + project.max(axis=0)))[:, None]
        return
    into, middle, out, stride, size = _shape(blocks)
    following = np.reshape(problem.entries, (-1, *[1] * (dimensions + 1))) / 8
    held = project_memory(middle, out, stride, size, third, following)
    behind = np.where(held <= limit, project, -np.inf).max(axis=1)

    def ahead(entry: float, *, residual: bool) -> Array:
        """Return the best of the project layer before each second width."""
        held = depthwise_memory(residual, middle, out, stride, size, entry, second[:, None], third)
        return np.asarray(np.where(held <= limit, project, -np.inf).max(axis=1))

    # Only a shortcut ties what a depthwise layer holds to the channels and the width that enter the block.
    residual, without = np.equal(into, out), ahead(0.0, residual=False)
    for entry, width, value in zip(entries, first.ravel().tolist(), expand, strict=True):
        reached = np.where(residual, ahead(width, residual=True), without)
        added = np.where(expand_memory(into, middle, size, width, second) <= limit, depthwise, -np.inf)
        # One class behind at a time: arrays of all of them together would leave the processor's cache.
        for least, found in zip(behind, best[entry], strict=True):
            np.add(value, (added + np.minimum(reached, least)).max(axis=0), out=found)


def _stacked(layer: PricedLayer, widths: Mapping[int, Array], dimensions: int) -> tuple[Array, Array]:
    """Return activation widths in bytes and the best value at each, stacked before the axes of the blocks."""
    values = [maximum([layer.value(pair) for pair in index]) for index in widths.values()]
    shape = np.broadcast_shapes((1,) * dimensions, *(value.shape for value in values))
    in_bytes = np.reshape(list(widths), (-1, *[1] * dimensions)) / 8
    return in_bytes, np.stack([np.broadcast_to(value, shape) for value in values])


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
    tables = [layer.rows(index, np.arange(count), count) for layer, index in zip(priced, indices, strict=True)]
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


def _limit(problem: Problem) -> float:
    return np.inf if problem.peak_memory is None else problem.peak_memory


def _shape(blocks: BlockShapes) -> tuple[Array, Array, Array, int, float]:
    return blocks.in_channels, blocks.bottleneck, blocks.out_channels, blocks.stride, blocks.size
