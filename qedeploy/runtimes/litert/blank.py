"""A network lowered before it is trained: zeros for its numbers. What memory is planned from is the same."""

from __future__ import annotations

import numpy as np

from qedeploy.network.graph import Graph
from qedeploy.network.layers import Layer
from qedeploy.network.operations import IMAGE, consumers
from qedeploy.profiles.profile import Lowering
from qedeploy.qdq.fold import FoldedLayer
from qedeploy.qdq.lowered import LoweredNetwork
from qedeploy.qdq.plan import Grid, LoweringPlan, StepSource, ValuePlan
from qedeploy.runtimes.litert.dialect import LiteRTDialect


def blank(graph: Graph) -> LoweredNetwork:
    """Return `graph` with weights and biases of zero, and grids of the widths that its layers read.

    Raises RequestError naming an operation that a full-integer file does not hold.
    """
    dialect = LiteRTDialect()
    readers, makers = consumers(graph.operations), graph.makers()
    layers = {layer.name: layer for layer in graph.layers}
    read = {
        name: Grid.of(
            bits=layers[reader].bits.activation,
            signed=True,
            step=1.0,
            nonnegative=name != IMAGE and makers[name].nonnegative,
        )
        for name, reader in readers.items()
    }
    made = {
        point.value: Grid.of(bits=point.bits, signed=point.signed, step=1.0, nonnegative=point.nonnegative)
        for point in dialect.points(graph.operations, read)
    }
    plan = LoweringPlan(
        profile="",
        runtime=dialect.runtime,
        dialect=dialect.name,
        layers=(),
        values=tuple(
            ValuePlan(name=name, grid=grid, source=StepSource.ASSUMED, reader=readers.get(name))
            for name, grid in {**read, **made}.items()
        ),
        integer_bias=dialect.integer_bias,
    )
    return LoweredNetwork(graph=graph, plan=plan, layers={name: _zeros(layer) for name, layer in layers.items()})


def _zeros(layer: Layer) -> FoldedLayer:
    return FoldedLayer(
        highest=LiteRTDialect().highest_weight(Lowering.INT16, layer.bits),
        weight=np.zeros(layer.weight_shape, np.int8),
        scale=np.ones(layer.out_channels, np.float32),
        bias=np.zeros(layer.out_channels),
    )
