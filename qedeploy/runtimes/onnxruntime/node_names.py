"""What ONNX Runtime calls the nodes that it executes."""

from __future__ import annotations

from qedeploy.runtimes.node_names import ONNX_EDGES, ONNX_OVERHEADS, NodeNames, Overhead

NODE_NAMES = NodeNames(
    overheads={
        **ONNX_OVERHEADS,
        **dict.fromkeys(("ReorderInput", "ReorderOutput"), Overhead.LAYOUT),
        "QLinearAdd": Overhead.ADD,
        **dict.fromkeys(
            ("QLinearAveragePool", "QLinearGlobalAveragePool", "NhwcMaxPool", "QLinearReduceMean"), Overhead.POOLING
        ),
        "QLinearLeakyRelu": Overhead.ACTIVATION,
    },
    edges=ONNX_EDGES,
    # What its layout and fusion passes rewrite gets such a name.
    added=r"(_token_\d+|_nchwc)+$",
    leading=frozenset({"ReorderInput"}),
    integer=("QLinear", "QGemm", "Integer"),
)
