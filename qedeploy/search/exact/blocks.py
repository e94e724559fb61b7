"""What a block is worth at given prices: over all shapes at once, or choice by choice for the few that matter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qedeploy.search.exact.costs import SolverLayers
from qedeploy.search.exact.fitting import (
    behind_fits,
    choices_layer_by_layer,
    fill_layer_by_layer,
    inside_fits,
    shape_fits,
)
from qedeploy.search.exact.pricing import PricedLayer, maximum, price_block
from qedeploy.search.exact.problem import BlockShapes, Prices, Problem, WidthGroup
from qedeploy.search.space.layers import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class DecidedBlocks:
    """Blocks with their widths decided, one row each: which row of the shapes, which pairs, and what it brings."""

    row: Array
    pairs: Array
    value: Array
    score: Array
    costs: Array

    def take(self, rows: Array) -> DecidedBlocks:
        """Return the choices of `rows`."""
        return DecidedBlocks(
            row=self.row[rows],
            pairs=self.pairs[rows],
            value=self.value[rows],
            score=self.score[rows],
            costs=self.costs[rows],
        )


def best_values(problem: Problem, blocks: BlockShapes, prices: Prices) -> Array:
    """Return the best value of each block over its widths, shape [entry, next entry, *blocks], -inf where none fits.

    `entry` is the class of the block's first activation width, `next entry` that of the layer behind it.
    """
    best = _best_widths(problem, blocks, prices)
    fits = shape_fits(problem, blocks)
    return best if fits is None else np.where(fits, best, -np.inf)


def _best_widths(problem: Problem, blocks: BlockShapes, prices: Prices) -> Array:
    priced = price_block(problem, blocks, prices)
    fixed = priced[1].fixed + priced[2].fixed + priced[0].fixed
    shape = np.broadcast_shapes(
        fixed.shape, blocks.in_channels.shape, blocks.bottleneck.shape, blocks.layers[1].layers.kernel.shape
    )
    classes = len(problem.entries)
    if problem.peak_memory is None:
        value = _group_value(problem, priced, problem.groups[0], shape)
        value += fixed
        return value[None, None]
    best = np.full((classes, classes, *shape), -np.inf)
    if problem.peak_memory is not None and problem.widths_per_layer:
        fill_layer_by_layer(problem, blocks, priced, best, problem.peak_memory)
        best += fixed
        return best
    for group in problem.groups:
        value = _group_value(problem, priced, group, shape)
        if group.activations is not None:
            value = np.where(inside_fits(problem, blocks, group.activations), value, -np.inf)
        for following, width in enumerate(problem.entries):
            if group.activations is None:
                fitting = value
            else:
                fitting = np.where(behind_fits(problem, blocks, group.activations[2], width), value, -np.inf)
            np.maximum(best[group.entry, following], fitting, out=best[group.entry, following])
    best += fixed
    return best


def _group_value(problem: Problem, priced: tuple[PricedLayer, ...], group: WidthGroup, shape: tuple[int, ...]) -> Array:
    expand, depthwise, project = priced
    if problem.widths_per_layer:
        found = [
            maximum([layer.value(pair) for pair in index]) for layer, index in zip(priced, group.indices, strict=True)
        ]
        return np.array(np.broadcast_to((found[1] + found[2]) + found[0], shape))
    best, value = np.full(shape, -np.inf), np.empty(shape)
    for pair in group.indices[0].tolist():
        # The arrays of the last two layers do not grow with the channels that come in: add them first.
        np.add(depthwise.value(pair) + project.value(pair), expand.value(pair), out=value)
        np.maximum(best, value, out=best)
    return best


def choices_within(
    problem: Problem, blocks: BlockShapes, prices: Prices, entry: Array, following: Array, least: Array
) -> DecidedBlocks:
    """Return every choice of widths for one-dimensional `blocks` that is worth at least `least`.

    `entry` and `following` are each block's class of first activation width and of the next layer's.
    """
    fits = shape_fits(problem, blocks)
    if fits is not None:
        least = np.where(fits, least, np.inf)
    priced = price_block(problem, blocks, prices)
    if problem.peak_memory is not None and problem.widths_per_layer:
        row, chosen, value = choices_layer_by_layer(
            problem, blocks, priced, entry, following, least, problem.peak_memory
        )
        return DecidedBlocks(row=row, pairs=chosen, value=value, **_totals(problem, blocks, row, chosen))
    count = least.size
    rows, pairs, values = [], [], []
    for group in problem.groups:
        at = np.flatnonzero(entry == group.entry)
        if group.activations is not None:
            behind = behind_fits(problem, blocks, group.activations[2], np.array(problem.entries)[following])
            fits = np.broadcast_to(inside_fits(problem, blocks, group.activations) & behind, count)
            at = at[fits[at]]
        row, chosen, value = _group_choices(problem, priced, group, at, least)
        rows.append(row)
        pairs.append(chosen)
        values.append(value)
    row, chosen = np.concatenate(rows), np.concatenate(pairs)
    return DecidedBlocks(row=row, pairs=chosen, value=np.concatenate(values), **_totals(problem, blocks, row, chosen))


def _group_choices(
    problem: Problem, priced: tuple[PricedLayer, ...], group: WidthGroup, at: Array, least: Array
) -> tuple[Array, Array, Array]:
    count = least.size
    fixed = np.sum([np.broadcast_to(layer.fixed, count)[at] for layer in priced], axis=0)
    tables = [layer.rows(index, at, count) for layer, index in zip(priced, group.indices, strict=True)]
    if not problem.widths_per_layer:
        value = fixed[:, None] + tables[0] + tables[1] + tables[2]
        row, number = np.nonzero(value >= least[at, None])
        index = group.indices[0][number]
        return at[row], np.stack([index, index, index], axis=1), value[row, number]
    # Layer by layer: what is kept can still reach `least` with the best widths of the layers that follow.
    row, value = np.arange(at.size), fixed + np.sum([table.max(axis=1) for table in tables], axis=0)
    chosen = np.empty((at.size, 0), np.int64)
    for table, index in zip(tables, group.indices, strict=True):
        regret = table.max(axis=1, keepdims=True) - table
        extended = value[:, None] - regret[row]
        kept, number = np.nonzero(extended >= least[at][row][:, None])
        row, value, chosen = row[kept], extended[kept, number], np.column_stack([chosen[kept], index[number]])
    return at[row], chosen, value


def _totals(problem: Problem, blocks: BlockShapes, row: Array, chosen: Array) -> dict[str, Array]:
    weight = problem.score_weights[0][blocks.step + 1]
    score = np.zeros(row.size)
    costs = np.zeros((row.size, len(problem.costs)))
    for position, layers in enumerate(blocks.layers):
        pair = chosen[:, position]
        score += weight * (_at(layers.entropy, row) + layers.gains[pair])
        for number, parts in enumerate(layers.costs):
            for part in parts:
                costs[:, number] += _at(part.shape, row) * part.factor[pair]
    return {"score": score, "costs": costs}


def _at(values: Array, row: Array) -> Array:
    return np.asarray(values)[row] if np.ndim(values) else np.broadcast_to(values, row.shape)


def layer_totals(problem: Problem, layers: SolverLayers, weight: float) -> tuple[Array, Array]:
    """Return score [layers, pairs] and costs [layers, pairs, costs] of one-dimensional `layers`."""
    count = np.broadcast(layers.layers.in_channels, layers.layers.out_channels).size
    score = weight * (np.broadcast_to(layers.entropy, count)[:, None] + layers.gains)
    costs = np.zeros((*score.shape, len(problem.costs)))
    for number, parts in enumerate(layers.costs):
        for part in parts:
            costs[:, :, number] += np.atleast_1d(part.shape)[:, None] * part.factor
    return score, costs
