"""The least a structure of a space can cost, exactly: what an infeasible budget is compared with.

A cost that adds up over layers is minimised stage by stage over the channels that go in and out, each with the kernel,
the bottleneck and the widths that cost least there. No layer costs less than nothing, so a stage has its fewest blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from qedeploy.search.space.layers import Array, Layers
from qedeploy.search.space.space import BitsPer, SearchSpace, bottleneck_channels
from qedeploy.search.space.space_layers import SpaceLayers

PartsOf = Callable[[SearchSpace, Layers], Sequence[tuple[Array, Array]]]
"""The cost of layers as products of an array of their shapes with the factors of each pair."""


def least_sum(space: SearchSpace, parts: PartsOf) -> float:
    """Return the least that the layers of a structure of `space` cost together."""
    made, channels, before = SpaceLayers(space), np.array(space.channels), np.array(space.stem_channels)
    least = np.broadcast_to(_pair_costs(space, made.stem(before), parts)[0], before.shape)
    # A stage's blocks share kernel and bottleneck, the last two axes.
    kernel, out = np.array(space.kernels)[:, None], channels[:, None, None]
    middle = np.array([[bottleneck_channels(one, ratio) for ratio in space.ratios] for one in space.channels])[:, None]
    for stage, depths in enumerate(space.depths):
        into = before[:, None, None, None]
        first = made.block(stage, first=True, into=into, middle=middle, out=out, kernel=kernel)
        cost = _block_cost(space, first, parts)
        if min(depths) > 1:
            rest = made.block(stage, first=False, into=out, middle=middle, out=out, kernel=kernel)
            cost = cost + (min(depths) - 1) * _block_cost(space, rest, parts)
        shape = (before.size, channels.size, len(space.kernels), len(space.ratios))
        total = least[:, None] + np.broadcast_to(cost, shape).min(axis=(2, 3))
        least = np.where(before[:, None] <= channels, total, np.inf).min(axis=0)
        before = channels
    return float((least + np.min(_pair_costs(space, made.head(before), parts), axis=0)).min())


def _block_cost(space: SearchSpace, block: Sequence[Layers], parts: PartsOf) -> Array:
    costs = [_pair_costs(space, layers, parts) for layers in block]
    if space.bits_per is BitsPer.LAYER:
        return np.asarray(sum(_least(found) for found in costs))
    return _least([one + two + three for one, two, three in zip(*costs, strict=True)])


def _pair_costs(space: SearchSpace, layers: Layers, parts: PartsOf) -> list[Array]:
    """Return the cost of `layers` at each of their pairs."""
    found = [(shape, factor.tolist()) for shape, factor in parts(space, layers)]
    return [
        np.asarray(sum(shape * factor[pair] for shape, factor in found if factor[pair]))
        for pair in range(len(layers.pairs))
    ]


def _least(values: Sequence[Array]) -> Array:
    least = values[0]
    for value in values[1:]:
        least = np.minimum(least, value)
    return least
