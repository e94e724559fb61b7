"""Which layers of a prepared network could run in integers, what they read and make, and which values share a grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from qedeploy.export.onnx_networks.editor import GraphEditor, attribute
from qedeploy.export.onnx_networks.graph_layers import layer_use
from qedeploy.network.layer_use import LayerUse

SAME_GRID = frozenset(
    {
        "MaxPool", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Slice", "Split",
        "DepthToSpace", "SpaceToDepth", "Dropout",
    }
)  # fmt: skip
"""Operators whose results are numbers of their input: the grid of the one serves the other."""

_CLIPPED = ("Relu", "Clip")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class IntegerLayer:
    """A layer that the runtime has an integer kernel for.

    `use` is the layer as one of ours. `source` is the value it reads; `result` what the kernel makes: behind
    `activation`, the name of a Relu or Clip that saturation implies, where there is one. `weight` has its output
    channels on `axis`; `bias` is (channels,) or None. `ceiling` bounds the result where the activation is a Clip.
    """

    name: str
    operator: str
    source: str
    result: str
    weight: NDArray[np.float32]
    axis: int
    bias: NDArray[np.float32] | None
    use: LayerUse
    activation: str | None = None
    ceiling: float | None = None

    @property
    def macs(self) -> int:
        """Multiply-accumulates of a query."""
        return self.use.macs

    @property
    def channels(self) -> int:
        """Number of output channels."""
        return int(self.weight.shape[self.axis])

    @property
    def is_linear(self) -> bool:
        """Whether it is a matrix product; its kernel can also leave its sums as floating point."""
        return self.operator != "Conv"


def integer_layers(editor: GraphEditor) -> tuple[IntegerLayer, ...]:
    """Return the layers of a prepared network that could run in integers, in execution order."""
    found = (_layer(editor, node) for node in editor.nodes)
    return tuple(layer for layer in found if layer is not None)


def grid_roots(editor: GraphEditor) -> Mapping[str, str]:
    """Return for every value the one whose grid it shares: itself, unless its operator only moves or picks numbers."""
    roots: dict[str, str] = {}
    for node in editor.nodes:
        for value in node.output:
            shares = node.op_type in SAME_GRID or _picks_nearest(node)
            roots[value] = roots.get(node.input[0], node.input[0]) if shares else value
    return roots


def _picks_nearest(node: NodeProto) -> bool:
    return node.op_type == "Resize" and attribute(node, "mode", b"nearest") == b"nearest"


def _layer(editor: GraphEditor, node: NodeProto) -> IntegerLayer | None:
    operands = _operands(editor, node)
    read, made = editor.shape(node.input[0]), editor.shape(node.output[0])
    if operands is None or read is None or made is None:
        return None
    weight, axis, bias = operands
    use = layer_use(node, node.name, weight.shape, read, made)
    if use is None:
        return None
    activation, ceiling = _activation(editor, node)
    return IntegerLayer(
        name=node.name,
        operator=node.op_type,
        source=node.input[0],
        result=activation.output[0] if activation is not None else node.output[0],
        weight=weight,
        axis=axis,
        bias=bias,
        use=use,
        activation=activation.name if activation is not None else None,
        ceiling=ceiling,
    )


def _operands(
    editor: GraphEditor, node: NodeProto
) -> tuple[NDArray[np.float32], int, NDArray[np.float32] | None] | None:
    """Return constant weights, the axis of their output channels and the bias; None where no integer kernel serves."""
    if node.op_type not in {"Conv", "Gemm", "MatMul"} or editor.constant(node.input[0]) is not None:
        return None
    weight = editor.constant(node.input[1])
    if weight is None or not _is_float32(weight) or weight.ndim != (4 if node.op_type == "Conv" else 2):
        return None
    axis = 0 if node.op_type == "Conv" or attribute(node, "transB", 0) else 1
    if node.op_type == "Gemm" and (
        attribute(node, "transA", 0) or attribute(node, "alpha", 1.0) != 1 or attribute(node, "beta", 1.0) != 1
    ):
        return None
    if len(node.input) < 3 or not node.input[2]:
        return weight, axis, None
    bias = editor.constant(node.input[2])
    if bias is None or bias.size != weight.shape[axis]:
        return None
    return weight, axis, bias.astype(np.float32).reshape(-1)


def _is_float32(array: NDArray[np.generic]) -> TypeGuard[NDArray[np.float32]]:
    return array.dtype == np.float32


def _activation(editor: GraphEditor, node: NodeProto) -> tuple[NodeProto | None, float | None]:
    """Return the Relu, or the Clip from 0 with its ceiling, that alone reads what `node` makes."""
    following = editor.sole_consumer(node.output[0])
    if following is None or following.op_type not in _CLIPPED:
        return None, None
    if following.op_type == "Relu":
        return following, None
    low, high = (editor.scalar(name) if name else None for name in (*following.input[1:], "", "")[:2])
    return (following, high) if low == 0 else (None, None)
