"""Building an ONNX graph node by node: every node, and the value it makes, carries one name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from qedeploy import __version__

_IR_VERSIONS = {13: 7, 14: 7, 15: 8, 16: 8, 17: 8, 18: 8, 19: 9, 20: 9, 21: 10, 22: 10, 23: 11, 24: 12}
"""The oldest IR version of each opset, so that the oldest runtime that knows the opset reads the file."""


class GraphBuilder:
    """Collects nodes and initializers. Helpers of a layer's node are named `<layer>.<helper>`."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}

    def node(
        self, op_type: str, inputs: Sequence[str], name: str, *, output: str | None = None, **attributes: Any
    ) -> str:
        """Add a node called `name` with one output, called the same unless `output` is given; returns the output."""
        value = output or name
        self._nodes.append(helper.make_node(op_type, list(inputs), [value], name=name, **attributes))
        return value

    def constant(self, name: str, value: np.ndarray | np.generic | onnx.TensorProto) -> str:
        """Add an initializer once and return its name; the same name must always stand for the same value."""
        if name not in self._initializers:
            tensor = value if isinstance(value, onnx.TensorProto) else numpy_helper.from_array(np.asarray(value), name)
            self._initializers[name] = tensor
        return name

    def dequantize_per_channel(self, value: str, channels: int) -> None:
        """Give the DequantizeLinear that makes `value` its one scale once for each channel: the same numbers.

        A value that nothing dequantizes, or with a scale for each channel already, stays as it is.
        """
        node = next((node for node in reversed(self._nodes) if node.output[0] == value), None)
        if node is None or node.op_type != "DequantizeLinear" or any(item.name == "axis" for item in node.attribute):
            return
        for index in (1, 2):
            one = numpy_helper.to_array(self._initializers[node.input[index]])
            name = f"{node.input[index]}.by_{channels}"
            node.input[index] = self.constant(name, np.full(channels, one, one.dtype))
        node.attribute.append(helper.make_attribute("axis", 1))

    def model(
        self,
        name: str,
        *,
        inputs: Sequence[onnx.ValueInfoProto],
        outputs: Sequence[onnx.ValueInfoProto],
        opset: int,
        metadata: Mapping[str, str],
    ) -> onnx.ModelProto:
        """Return the model; `metadata` becomes its metadata_props."""
        graph = helper.make_graph(
            self._nodes, name, list(inputs), list(outputs), initializer=list(self._initializers.values())
        )
        model = helper.make_model(
            graph,
            producer_name="qedeploy",
            producer_version=__version__,
            opset_imports=[helper.make_opsetid("", opset)],
            ir_version=_IR_VERSIONS[opset],
        )
        helper.set_model_props(model, dict(metadata))
        return model


def owner(node_name: str) -> str:
    """Return what a node belongs to: the layer, or the add, pool or shortcut, that its name starts with.

    >>> owner("stage3.block1.depthwise.weight.dequantize")
    'stage3.block1.depthwise'
    >>> owner("stage3.block1.add")
    'stage3.block1.add'
    """
    parts = node_name.split(".")
    kept = 3 if parts[0].startswith("stage") else 1
    return ".".join(parts[:kept])
