"""Operators that stay in floating point: their ONNX nodes, and PyTorch's run of them in float64."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from qedeploy.network.float_node import Constant, FloatNode
from qedeploy.network.operations import Operation
from qedeploy.qdq.graph_builder import GraphBuilder

_OPSET = 17
_FLOAT32_CONSTANTS = {"Resize"}
"""Operators whose constants are float32 whatever type they compute in: scales are no data."""


def write_node(
    graph: GraphBuilder, operation: Operation, inputs: Sequence[str], dtype: type[np.floating[Any]] = np.float32
) -> str:
    """Add the node of `operation` with its constants; floating-point ones that are data become `dtype`."""
    node = _node_of(operation)

    def constant(place: int, value: Constant) -> str:
        return graph.constant(f"{operation.name}.input{place}", _array(node, value, dtype))

    return graph.node(node.op_type, node.operands(list(inputs), constant, ""), operation.name, **_attributes(node))


def execute_node(operation: Operation, inputs: Sequence[Tensor]) -> Tensor:
    """Return what `operation` makes of float64 `inputs`; the slow evaluator of ONNX serves what is not told here."""
    node = _node_of(operation)
    attributes = _attributes(node)
    match node.op_type:
        case "Concat":
            return torch.cat(list(inputs), dim=attributes["axis"])
        case "MaxPool" if set(attributes) <= {"kernel_shape", "strides", "pads"}:
            top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0))
            padded = functional.pad(inputs[0], (left, right, top, bottom), value=-torch.inf)
            return functional.max_pool2d(padded, attributes["kernel_shape"], attributes.get("strides", (1, 1)))
        case "Resize" if _repeats(operation, attributes):
            return functional.interpolate(inputs[0], size=operation.output[1:], mode="nearest")
        case "Sigmoid":
            return inputs[0].sigmoid()
        case _:
            return _evaluate(node, attributes, inputs)


def _evaluate(node: FloatNode, attributes: dict[str, Any], inputs: Sequence[Tensor]) -> Tensor:
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    feeds: dict[str, np.ndarray] = {}

    def feed(value: np.ndarray) -> str:
        name = f"value{len(feeds)}"
        feeds[name] = value
        return name

    names = node.operands(
        [feed(value.numpy()) for value in inputs],
        lambda _place, constant: feed(_array(node, constant, np.float64)),
        "",
    )
    single = helper.make_node(node.op_type, names, ["made"], **attributes)
    values = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), None)
        for name, value in feeds.items()
    ]
    made = helper.make_tensor_value_info("made", helper.np_dtype_to_tensor_dtype(np.dtype(np.float64)), None)
    graph = helper.make_graph([single], "node", values, [made])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)])
    (found,) = ReferenceEvaluator(model).run(None, feeds)
    return torch.from_numpy(np.asarray(found, np.float64))


def _repeats(operation: Operation, attributes: dict[str, Any]) -> bool:
    """Return whether a Resize repeats pixels, each a whole number of times, as nearest neighbours are exported."""
    wanted = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    whole = not any(made % read for made, read in zip(operation.output[1:], operation.input[1:], strict=True))
    return whole and all(attributes.get(key) == value for key, value in wanted.items())


def _attributes(node: FloatNode) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in node.attributes.items()}


def _array(node: FloatNode, constant: Constant, dtype: type[np.floating[Any]]) -> np.ndarray:
    own = np.dtype(constant.element_type)
    computed = np.issubdtype(own, np.floating) and node.op_type not in _FLOAT32_CONSTANTS
    return np.array(constant.values, dtype if computed else own).reshape(constant.sizes)


def _node_of(operation: Operation) -> FloatNode:
    if operation.node is None:
        raise ValueError(f"{operation.name}: a {operation.kind} is no node of its own")
    return operation.node
