"""A lowered network: its plan and its weights in NumPy. Every dialect writes these numbers, the reference runs them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from qedeploy.network.graph import Graph
from qedeploy.qdq.fold import FoldedLayer
from qedeploy.qdq.plan import LoweringPlan


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoweredNetwork:
    """A graph, the plan of its lowering, and the folded weights of every layer by name."""

    graph: Graph
    plan: LoweringPlan
    layers: Mapping[str, FoldedLayer]


def bias_integers(layer: FoldedLayer, step: float) -> np.ndarray:
    """Return the bias in units of `step * scale` as int32, (out,): the grid that `with_integer_bias` gave it."""
    if layer.scale is None:
        raise ValueError("a floating-point layer has no integer bias")
    return np.rint(layer.bias / (step * layer.scale.astype(np.float64))).astype(np.int32)


def weight_range(layer: FoldedLayer) -> tuple[int | None, int | None]:
    """Return the smallest and largest weight integer that occur, (None, None) for floating-point weights."""
    if layer.scale is None:
        return None, None
    return int(layer.weight.min()), int(layer.weight.max())
