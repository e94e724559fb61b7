"""The words of a runtime for what it executes: which nodes are overhead, and what it did to exported names."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Overhead(StrEnum):
    """What a query spends time on besides the arithmetic of its layers."""

    LAYOUT = "layout changes"
    QUANTIZATION = "quantize and dequantize"
    CLIP = "clip to a narrower range"
    ADD = "residual add"
    POOLING = "pooling"
    ACTIVATION = "activation not fused"
    OTHER = "other nodes"
    BETWEEN = "runtime between nodes"
    CALL = "call into the runtime"
    INTERRUPTED = "interruptions"


ONNX_OVERHEADS: Mapping[str, Overhead] = {
    **dict.fromkeys(
        ("Transpose", "SpaceToDepth", "DepthToSpace", "Pad", "Reshape", "Flatten", "Squeeze", "Unsqueeze"),
        Overhead.LAYOUT,
    ),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "Cast"), Overhead.QUANTIZATION),
    "Clip": Overhead.CLIP,
    **dict.fromkeys(("Add", "Sum"), Overhead.ADD),
    **dict.fromkeys(("AveragePool", "GlobalAveragePool", "MaxPool", "ReduceMean"), Overhead.POOLING),
    **dict.fromkeys(("Relu", "LeakyRelu", "Sigmoid", "HardSwish"), Overhead.ACTIVATION),
}
"""Operators of ONNX that are no layer's arithmetic."""

ONNX_EDGES = frozenset({
    "Transpose", "Reshape", "Squeeze", "Flatten", "Identity", "QuantizeLinear", "DequantizeLinear", "Cast",
})  # fmt: skip
"""Operators of ONNX that stand around a few blocks of a network because these stand alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeNames:
    """How to read the nodes of a runtime's profile.

    `overheads` says what a node's type is overhead of, where it is; `edges` are the types that stand around a fragment
    because it stands alone. `added` is a pattern of what the runtime puts behind an exported name. A change of layout
    counts for the node before it, except for the types in `leading`, which stand in front of the one that they are for.
    `integer` are parts of the types that compute with integers, None where types do not tell.
    """

    overheads: Mapping[str, Overhead]
    edges: Collection[str] = ONNX_EDGES
    added: str = ""
    leading: Collection[str] = ()
    integer: tuple[str, ...] | None = None


ONNX_NAMES = NodeNames(overheads=ONNX_OVERHEADS)
"""Of a runtime that executes ONNX operators under their own names."""
