"""What the layers of an engine are called: those of join.py, and TensorRT's own types."""

from __future__ import annotations

from qedeploy.runtimes.node_names import ONNX_EDGES, ONNX_OVERHEADS, NodeNames, Overhead

NODE_NAMES = NodeNames(
    overheads={**ONNX_OVERHEADS, **dict.fromkeys(("Reformat", "Shuffle"), Overhead.LAYOUT)},
    edges=ONNX_EDGES | {"Reformat"},
)
