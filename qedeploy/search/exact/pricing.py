"""What single layers are worth at given prices, widths still open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qedeploy.search.costs.terms import Array
from qedeploy.search.exact.costs import LayerShapes, Pairs
from qedeploy.search.exact.problem import BlockShapes, Prices, Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class PricedLayer:
    """A layer's value at given prices: `fixed` plus, for each pair, its `gain` and the products of `varying`."""

    fixed: Array
    gain: Array
    varying: tuple[tuple[Array, Array], ...]

    def value(self, pair: int) -> Array:
        """Return what the pair adds to `fixed`."""
        some = (shape * factor[pair] for shape, factor in self.varying if factor[pair])
        return sum(some, start=np.asarray(self.gain[pair]))


def price_layer(problem: Problem, layers: LayerShapes, pairs: Pairs, weight: float, prices: Prices) -> PricedLayer:
    """Return the value of `layers` whose entropy counts `weight` times in the score."""
    fixed = prices.score * weight * layers.terms.entropy
    varying: dict[int, tuple[Array, Array]] = {}
    for cost, multiplier in zip(problem.costs, prices.multipliers, strict=True):
        if multiplier == 0:
            continue
        for shape, factor in cost.parts(layers, pairs):
            if np.all(factor == factor[0]):
                fixed = fixed - (multiplier * factor[0]) * shape
            else:
                _, collected = varying.get(id(shape), (shape, 0.0))
                varying[id(shape)] = shape, collected - multiplier * factor
    gain = prices.score * weight * pairs.terms.entropy
    return PricedLayer(fixed=fixed, gain=gain, varying=tuple(varying.values()))


def price_block(problem: Problem, blocks: BlockShapes, prices: Prices) -> tuple[PricedLayer, PricedLayer, PricedLayer]:
    """Return the value of the three layers of `blocks`."""
    weight = problem.score_weights[0][blocks.step + 1]
    expand, depthwise, project = (
        price_layer(problem, layers, pairs, weight, prices)
        for layers, pairs in zip(blocks.layers, problem.block_pairs, strict=True)
    )
    return expand, depthwise, project


def maximum(values: Sequence[Array]) -> Array:
    """Return the elementwise maximum of at least one array, in the shape that they broadcast to."""
    best = values[0]
    for value in values[1:]:
        best = np.maximum(best, value)
    return best
