"""What OpenVINO calls the nodes that it executes."""

from __future__ import annotations

from qedeploy.runtimes.node_names import ONNX_OVERHEADS, NodeNames, Overhead

NODE_NAMES = NodeNames(
    overheads={
        **ONNX_OVERHEADS,
        **dict.fromkeys(("Reorder", "Permute"), Overhead.LAYOUT),
        **dict.fromkeys(("FakeQuantize", "Convert", "PowerStatic"), Overhead.QUANTIZATION),
        "Eltwise": Overhead.ADD,
        **dict.fromkeys(("AvgPool", "Pooling", "Reduce", "ReduceMean"), Overhead.POOLING),
    },
)
