"""Nodes that every dialect writes the same way: the operations of the network without their quantization."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from qedeploy.network.layers import Layer
from qedeploy.network.operations import Operation, OperationKind
from qedeploy.qdq.float_nodes import write_node
from qedeploy.qdq.fold import FoldedLayer
from qedeploy.qdq.graph_builder import GraphBuilder
from qedeploy.qdq.lowered import bias_integers
from qedeploy.qdq.plan import Grid


def convolution(
    graph: GraphBuilder,
    layer: Layer,
    operands: Sequence[str],
    *,
    groups: int,
    attributes: dict[str, Any] | None = None,
) -> str:
    """Add the Conv of `layer` to `operands`: value, weight (out, in/groups, height, width) and bias (out,).

    `groups` are those of the weights in the graph; `attributes` replaces kernel shape, strides and pads.
    """
    window = layer.window
    shape = attributes or {
        "kernel_shape": list(window.kernel),
        "strides": list(window.stride),
        "pads": list(window.padding),
        # The default is left out.
        **({"dilations": list(window.dilation)} if window.dilation != (1, 1) else {}),
    }
    return graph.node("Conv", operands, layer.name, group=groups, **shape)


def linear(graph: GraphBuilder, layer: Layer, operands: Sequence[str]) -> str:
    """Add the Gemm of `layer` to `operands`: value (batch, in), weight (out, in) and bias (out,)."""
    return graph.node("Gemm", operands, layer.name, transB=1)


def weight(graph: GraphBuilder, name: str, layer: FoldedLayer) -> str:
    """Add the weight of a layer, dequantized per output channel where it is in integers."""
    held = graph.constant(f"{name}.weight", layer.weight)
    if layer.scale is None:
        return held
    scale = graph.constant(f"{name}.weight.scale", layer.scale)
    zero = graph.constant(f"{name}.weight.zero_point", np.zeros(layer.scale.shape, np.int8))
    return graph.node("DequantizeLinear", [held, scale, zero], f"{name}.weight.dequantize", axis=0)


def bias(graph: GraphBuilder, name: str, layer: FoldedLayer, grid: Grid | None) -> str:
    """Add the bias of a layer: 32-bit integers on the grid of its products, where it reads integers on `grid`."""
    if layer.scale is None or grid is None:
        return graph.constant(f"{name}.bias", layer.bias.astype(np.float32))
    held = graph.constant(f"{name}.bias", bias_integers(layer, grid.step))
    unit = (np.float64(grid.step) * layer.scale.astype(np.float64)).astype(np.float32)
    scale = graph.constant(f"{name}.bias.scale", unit)
    zero = graph.constant(f"{name}.bias.zero_point", np.zeros(unit.shape, np.int32))
    return graph.node("DequantizeLinear", [held, scale, zero], f"{name}.bias.dequantize", axis=0)


def relu(graph: GraphBuilder, operation: Operation, value: str, dtype: type[np.floating[Any]] = np.float32) -> str:
    """Add the activation behind `operation`: a Relu, a Clip for a ReLU6 with bounds of `dtype`, or nothing."""
    if operation.activation is None:
        return value
    ceiling = operation.activation.ceiling
    if ceiling is None:
        return graph.node("Relu", [value], f"{operation.name}.relu")
    bounds = [graph.constant(f"activation.{limit:g}", dtype(limit)) for limit in (0.0, ceiling)]
    return graph.node("Clip", [value, *bounds], f"{operation.name}.relu6")


def weightless(
    graph: GraphBuilder, operation: Operation, inputs: Sequence[str], dtype: type[np.floating[Any]] = np.float32
) -> str:
    """Add the node of an operation without weights: an add, a pooling, or what is computed in `dtype` as it is."""
    match operation.kind:
        case OperationKind.ADD:
            return graph.node("Add", inputs, operation.name)
        case OperationKind.AVERAGE_POOL:
            return graph.node("AveragePool", inputs, operation.name, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
        case OperationKind.GLOBAL_AVERAGE_POOL:
            return graph.node("GlobalAveragePool", inputs, operation.name)
        case OperationKind.FLOAT:
            return write_node(graph, operation, inputs, dtype)
        case _:
            raise ValueError(f"{operation.name}: a {operation.kind} has weights")
