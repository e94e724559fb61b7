"""What ONNX Runtime makes of an exported graph: a fusion that is lost costs more than all bits save."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import onnx
import onnxruntime
import pytest

from qedeploy.export.baselines import random_network
from qedeploy.network.costs import convolutions
from qedeploy.network.graph import structure_graph
from qedeploy.network.layers import expand_layers
from qedeploy.network.lightnas import from_blocks
from qedeploy.network.operations import OperationKind
from qedeploy.network.structure import Structure
from qedeploy.qdq.graph_builder import owner
from qedeploy.qdq.writer import write_model
from qedeploy.runtimes.registry import dialect_for
from tests.export.networks import small_structure

DIALECT = dialect_for("onnxruntime")


def optimized_nodes(structure: Structure, folder: Path) -> list[onnx.NodeProto]:
    network = DIALECT.arrange(random_network(structure_graph(structure), DIALECT))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    content = write_model(network, DIALECT).model.SerializeToString()
    onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return list(onnx.load(folder / "optimized.onnx").graph.node)


def named(nodes: list[onnx.NodeProto], op_type: str) -> set[str]:
    return {owner(node.name.partition("_token")[0]) for node in nodes if node.op_type == op_type}


@pytest.mark.parametrize(("name", "adds", "pools"), [("mixed7d0G", 11, 1), ("mixed19d2G", 10, 0)])
def test_all_47_convolutions_and_every_add_fuse(named_golden, tmp_path, name, adds, pools):
    structure = from_blocks(named_golden[name]["structure"])
    nodes = optimized_nodes(structure, tmp_path)
    found = Counter(node.op_type for node in nodes)
    layers = {layer.name for layer in convolutions(expand_layers(structure))}
    assert len(layers) == 47
    assert layers <= named(nodes, "QLinearConv")
    assert found == {
        # The pooled shortcut is a depthwise convolution as well.
        "QLinearConv": 47 + pools,
        "QLinearAdd": adds,
        "QLinearGlobalAveragePool": 1,
        "QGemm": 1,
        # Every layer's input but the two of 8 bits is narrower than uint8.
        "Clip": 46,
        "QuantizeLinear": 1,
        # The stem's packed columns: views of the same memory.
        "Reshape": 2,
        "Squeeze": 1,
        "Transpose": 2,
    }


@pytest.mark.parametrize("resolution", [16, 17])
def test_nothing_stays_in_floating_point_at_even_and_odd_sizes(tmp_path, resolution):
    structure = small_structure(resolution=resolution)
    nodes = optimized_nodes(structure, tmp_path)
    left = {node.op_type for node in nodes} & {"Conv", "FusedConv", "Add", "Relu", "AveragePool", "Gemm"}
    assert left == set()
    adds = {step.name for step in structure_graph(structure).operations if step.kind is OperationKind.ADD}
    assert named(nodes, "QLinearAdd") == adds
