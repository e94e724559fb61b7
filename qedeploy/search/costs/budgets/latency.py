"""Seconds that the latency table in play predicts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qedeploy.network.graph import structure_graph
from qedeploy.network.structure import Structure
from qedeploy.search.costs.budget import AdditiveBudget, Budget, Part
from qedeploy.search.costs.layer_times import constant_seconds, layer_times
from qedeploy.search.space.layers import Array, Layers
from qedeploy.search.space.space import SearchSpace
from qedeploy.units import Quantity


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency(AdditiveBudget):
    """Predicted latency: times of layers, whole multiples of 2^-40 seconds, and what every structure pays."""

    def known(self, space: SearchSpace) -> bool:
        """Say whether `space` has a latency table."""
        return space.latency is not None

    def constant(self, space: SearchSpace) -> float:
        """Return seconds of the call, the pooling and the classifier."""
        return constant_seconds(space)

    def parts(self, space: SearchSpace, layers: Layers) -> tuple[Part, ...]:
        """Return the seconds of `layers` at each pair, with a factor that picks them."""
        times = layer_times(space)
        seconds = times.every_pair(layers.place, layers.pairs.bits, times.index(layers))
        return tuple(zip(seconds, np.eye(len(layers.pairs)), strict=True))

    def chosen(self, space: SearchSpace, layers: Layers, chosen: Array) -> Array:
        """Return the seconds of `layers` at the pairs `chosen`, read from the table at once."""
        times = layer_times(space)
        table = times.table(layers.place, layers.pairs.bits)
        return np.asarray(table[(chosen, *times.index(layers))].sum(axis=0))

    def cost(self, structure: Structure, space: SearchSpace) -> float:
        """Return the seconds that the latency model predicts for `structure`."""
        return layer_times(space).model.seconds(structure_graph(structure))

    @property
    def axis(self) -> str:
        """What a plot's axis counts."""
        return "ms, predicted"


LATENCY: Budget = Latency(
    name="latency",
    key="latency_seconds",
    label="predicted latency",
    quantity=Quantity.DURATION,
    step=(1e-3, "a millisecond"),
    order=6,
)
