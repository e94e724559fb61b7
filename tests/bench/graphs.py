"""Small ONNX files for benchmarks: one that qedeploy exported, and ones made with onnx's own helpers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from qedeploy.bench.benchmark import BenchOptions
from qedeploy.export.baselines import random_network
from qedeploy.network.graph import structure_graph
from qedeploy.network.structure import Bits, Structure
from qedeploy.qdq.metadata import ModelMetadata, to_properties
from qedeploy.qdq.writer import write_model
from qedeploy.runtimes.registry import dialect_for
from qedeploy.runtimes.timing import TimingProtocol
from tests.export.networks import small_structure

BRIEF = TimingProtocol(warm_up=0.01, duration=0.15, iterations=10)
"""Enough to run every part of a benchmark; its figures mean nothing."""

BRIEF_OPTIONS = BenchOptions(protocol=BRIEF)


def exported(path: Path, bits: Bits = Bits(weight=5, activation=5), batch: int | None = None) -> Structure:
    """Write a small network with qedeploy's metadata, random weights and every layer in `bits` but both ends."""
    dialect = dialect_for("onnxruntime")
    structure = small_structure(bits, resolution=32)
    network = dialect.arrange(random_network(structure_graph(structure), dialect))
    plan = dataclasses.replace(network.plan, profile="cpu-int8")
    metadata = ModelMetadata(graph=network.graph, profile="cpu-int8", plan=plan)
    written = write_model(network, dialect, batch=batch, metadata=to_properties(metadata))
    path.write_bytes(written.model.SerializeToString())
    return structure


def save(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    shape: Sequence[int | str] | None = (1, 4),
    *,
    element_type: int = TensorProto.FLOAT,
    output_shape: Sequence[int | str] | None = None,
    initializers: Sequence[onnx.TensorProto] = (),
) -> Path:
    """Write a graph from the input `x` to the output `y`, unchecked: some are wrong on purpose."""
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info("x", element_type, shape)],
        [helper.make_tensor_value_info("y", element_type, output_shape)],
        list(initializers),
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("example", 1)]
    path.write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())
    return path


def convolution(path: Path, *, channels: int = 8, size: int = 16) -> Path:
    """Write a Conv and a Relu in float32 on an open batch, without metadata."""
    weight = np.random.default_rng(0).normal(size=(channels, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="first", pads=[1, 1, 1, 1]),
        helper.make_node("Sigmoid", ["c"], ["y"], name="second"),
    ]
    return save(path, nodes, ("batch", 3, size, size), initializers=[numpy_helper.from_array(weight, "w")])


def relu(path: Path, shape: Sequence[int | str] | None = (1, 4), element_type: int = TensorProto.FLOAT) -> Path:
    """Write one Relu."""
    return save(path, [helper.make_node("Relu", ["x"], ["y"])], shape, element_type=element_type)
