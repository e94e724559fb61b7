"""A budget that is a maximum over the parts of a structure, each of which has a cost that shapes alone decide.

The exact search leaves out whatever part is over the limit; widths play no role in it.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from qedeploy.search.costs.budget import Budget
from qedeploy.search.costs.population import Population
from qedeploy.search.space.layers import Array
from qedeploy.search.space.space import SearchSpace, bottleneck_channels


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockSize:
    """Inverted bottlenecks: arrays that broadcast together, and the stride and the nominal square input in pixels."""

    in_channels: Array
    bottleneck: Array
    out_channels: Array
    kernel: Array
    stride: int
    size: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PeakBudget(Budget):
    """The most that a stem, a block or a head costs."""

    @abstractmethod
    def stem(self, space: SearchSpace, channels: Array) -> Array:
        """Return the cost of stems of these widths."""

    @abstractmethod
    def block(self, space: SearchSpace, blocks: BlockSize) -> Array:
        """Return the cost of blocks."""

    @abstractmethod
    def head(self, space: SearchSpace, size: float, channels: Array) -> Array:
        """Return the cost of heads that read these channels of `size` pixels square, and of all that follows."""

    def costs(self, space: SearchSpace, population: Population) -> Array:
        """Return the costs of N structures, [N]."""
        shapes, size = population.shapes, space.resolution / space.stem_stride
        peak, before = self.stem(space, shapes.stem), shapes.stem
        for stage, stride in enumerate(space.strides):
            middle, out, kernel = shapes.bottlenecks[stage], shapes.channels[stage], shapes.kernels[stage]
            first = BlockSize(
                in_channels=before, bottleneck=middle, out_channels=out, kernel=kernel, stride=stride, size=size
            )
            size /= stride
            again = BlockSize(in_channels=out, bottleneck=middle, out_channels=out, kernel=kernel, stride=1, size=size)
            peak = np.maximum(peak, self.block(space, first))
            peak = np.where(shapes.depths[stage] > 1, np.maximum(peak, self.block(space, again)), peak)
            before = out
        return np.asarray(np.maximum(peak, self.head(space, size, before)), float)

    def least(self, space: SearchSpace) -> float:
        """Return the least maximum that a structure of `space` has, found stage by stage over the channels."""
        channels, before = np.array(space.channels), np.array(space.stem_channels)
        least, size = self.stem(space, before), space.resolution / space.stem_stride
        kernel = np.array(space.kernels)[:, None]
        middle = np.array([[bottleneck_channels(one, ratio) for ratio in space.ratios] for one in space.channels])
        middle, out = middle[:, None], channels[:, None, None]
        for stride, depths in zip(space.strides, space.depths, strict=True):
            into = before[:, None, None, None]
            first = BlockSize(
                in_channels=into, bottleneck=middle, out_channels=out, kernel=kernel, stride=stride, size=size
            )
            cost = self.block(space, first)
            size /= stride
            if min(depths) > 1:
                again = BlockSize(
                    in_channels=out, bottleneck=middle, out_channels=out, kernel=kernel, stride=1, size=size
                )
                cost = np.maximum(cost, self.block(space, again))
            shape = (before.size, channels.size, len(space.kernels), len(space.ratios))
            reached = np.maximum(least[:, None], np.broadcast_to(cost, shape).min(axis=(2, 3)))
            least = np.where(before[:, None] <= channels, reached, np.inf).min(axis=0)
            before = channels
        return float(np.maximum(least, self.head(space, size, before)).min())
