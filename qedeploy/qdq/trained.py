"""The input of an export: the trained numbers, without the framework that trained them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from qedeploy.network.graph import Graph
from qedeploy.qdq.calibration import Wanted
from qedeploy.qdq.fold import LayerWeights
from qedeploy.qdq.plan import Grid


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainedNetwork:
    """A graph with the weights of its layers and, per value that a layer reads, the grid of that layer's quantizer.

    A grid is None where the layer reads floating point, and Wanted where its step was never trained. `points` are the
    grids of values that no layer reads and that training rounded as a device does.
    """

    graph: Graph
    layers: Mapping[str, LayerWeights]
    grids: Mapping[str, Grid | Wanted | None]
    points: Mapping[str, Grid | Wanted] = field(default_factory=dict)
