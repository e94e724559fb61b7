"""Nodes that every dialect writes the same way: the operations of the network without their quantization."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from qedeploy.network.layers import Layer, LayerKind
from qedeploy.network.operations import Operation, OperationKind
from qedeploy.qdq.graph_builder import GraphBuilder


def convolution(
    graph: GraphBuilder,
    layer: Layer,
    operands: Sequence[str],
    *,
    channels: int,
    attributes: dict[str, Any] | None = None,
) -> str:
    """Add the Conv of `layer` to `operands`: value, weight (out, in/groups, k, k) and bias (out,).

    `channels` is the number of output channels as they are in the graph, which is the number of groups of a depthwise
    convolution; `attributes` replaces kernel shape, strides and pads.
    """
    shape = attributes or {
        "kernel_shape": [layer.kernel] * 2,
        "strides": [layer.stride] * 2,
        "pads": [layer.kernel // 2] * 4,
    }
    group = channels if layer.kind is LayerKind.DEPTHWISE else 1
    return graph.node("Conv", operands, layer.name, group=group, **shape)


def linear(graph: GraphBuilder, layer: Layer, operands: Sequence[str]) -> str:
    """Add the Gemm of `layer` to `operands`: value (batch, in), weight (out, in) and bias (out,)."""
    return graph.node("Gemm", operands, layer.name, transB=1)


def relu(graph: GraphBuilder, operation: Operation, value: str, dtype: type[np.floating[Any]] = np.float32) -> str:
    """Add the activation behind `operation`: a Relu, a Clip for a ReLU6 with bounds of `dtype`, or nothing."""
    if operation.activation is None:
        return value
    ceiling = operation.activation.ceiling
    if ceiling is None:
        return graph.node("Relu", [value], f"{operation.name}.relu")
    bounds = [graph.constant(f"activation.{limit:g}", dtype(limit)) for limit in (0.0, ceiling)]
    return graph.node("Clip", [value, *bounds], f"{operation.name}.relu6")


def weightless(graph: GraphBuilder, operation: Operation, inputs: Sequence[str]) -> str:
    """Add the node of an operation without weights: an add or a pooling."""
    match operation.kind:
        case OperationKind.ADD:
            return graph.node("Add", inputs, operation.name)
        case OperationKind.AVERAGE_POOL:
            return graph.node("AveragePool", inputs, operation.name, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
        case OperationKind.GLOBAL_AVERAGE_POOL:
            return graph.node("GlobalAveragePool", inputs, operation.name)
        case _:
            raise ValueError(f"{operation.name}: a {operation.kind} has weights")
