"""What single layers are worth at given prices, widths still open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qedeploy.search.exact.costs import SolverLayers
from qedeploy.search.exact.problem import BlockShapes, Prices, Problem
from qedeploy.search.space.layers import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class PricedLayer:
    """A layer's value at given prices: `fixed` plus, for each pair, its `gain` and the products of `varying`."""

    fixed: Array
    gain: Array
    varying: tuple[tuple[Array, list[float]], ...]

    def value(self, pair: int) -> Array:
        """Return what the pair adds to `fixed`."""
        found: Array = self.gain[pair]
        for shape, factor in self.varying:
            if factor[pair]:
                found = found + shape * factor[pair]
        return np.asarray(found)

    def rows(self, pairs: Array, rows: Array, count: int) -> Array:
        """Return what each of `pairs` adds to `fixed`, [rows, pairs], for some rows of `count` layers in a row."""
        found = np.empty((rows.size, pairs.size))
        found[:] = self.gain[pairs]
        for shape, factor in self.varying:
            one = shape[rows] if shape.shape == (count,) else np.broadcast_to(shape, count)[rows]
            found += one[:, None] * np.array(factor)[pairs]
        return found


def price_layer(layers: SolverLayers, weight: float, prices: Prices) -> PricedLayer:
    """Return the value of `layers` that count `weight` times in the score."""
    worth = prices.score * weight
    fixed = worth * layers.entropy
    varying: dict[int, tuple[Array, Array]] = {}
    for parts, multiplier in zip(layers.costs, prices.multipliers.tolist(), strict=True):
        if multiplier == 0:
            continue
        for part in parts:
            if part.uniform:
                fixed = fixed - (multiplier * part.factor[0]) * part.shape
            else:
                _, before = varying.get(id(part.shape), (part.shape, 0.0))
                varying[id(part.shape)] = part.shape, before - multiplier * part.factor
    collected = tuple((shape, factor.tolist()) for shape, factor in varying.values())
    return PricedLayer(fixed=fixed, gain=worth * layers.gains, varying=collected)


def price_block(problem: Problem, blocks: BlockShapes, prices: Prices) -> tuple[PricedLayer, PricedLayer, PricedLayer]:
    """Return the value of the three layers of `blocks`."""
    weight = problem.score_weights[0][blocks.step + 1]
    expand, depthwise, project = (price_layer(layers, weight, prices) for layers in blocks.layers)
    return expand, depthwise, project


def maximum(values: Sequence[Array]) -> Array:
    """Return the elementwise maximum of at least one array, in the shape that they broadcast to."""
    best = values[0]
    for value in values[1:]:
        best = np.maximum(best, value)
    return best
