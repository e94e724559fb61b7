"""A layer as a query uses it: how often it is computed, and what that comes to."""

from __future__ import annotations

import math
from dataclasses import dataclass

from qedeploy.network.layers import Layer, LayerCategory


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerUse:
    """`layer` computed `queries` times for one query of the network: for each image, each row of a sequence."""

    layer: Layer
    queries: int = 1

    @property
    def category(self) -> LayerCategory:
        """What profiles and reports call the layer."""
        return self.layer.category

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the query."""
        return self.layer.macs * self.queries

    @property
    def weights(self) -> int:
        """Number of weights, without bias."""
        return self.layer.weight_count

    @property
    def values(self) -> int:
        """Numbers that it reads and makes."""
        return (math.prod(self.layer.input) + math.prod(self.layer.output)) * self.queries
