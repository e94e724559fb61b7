from __future__ import annotations

import numpy as np
import onnx
import pytest

from qedeploy.errors import RequestError, UserError
from qedeploy.export.baselines import random_network, write_float_onnx, write_float_twin, write_w8a8_twin
from qedeploy.network.graph import structure_graph
from qedeploy.network.layers import expand_layers
from qedeploy.network.published import find_published
from qedeploy.network.structure import Bits
from qedeploy.profiles.loader import load_profile
from qedeploy.qdq.graph_builder import owner
from qedeploy.qdq.images import random_images
from qedeploy.qdq.lowering import lower
from qedeploy.qdq.metadata import ModelMetadata, read_metadata, to_properties
from qedeploy.qdq.plan import StepSource
from qedeploy.qdq.writer import write_model
from qedeploy.runtimes.onnxruntime.session import open_session
from qedeploy.runtimes.registry import dialect_for
from tests.export.networks import random_trained, small_structure

DIALECT = dialect_for("onnxruntime")


@pytest.fixture
def exported(tmp_path):
    structure = small_structure(Bits(weight=3, activation=5))
    network = lower(
        random_trained(structure),
        load_profile("cpu-int8"),
        DIALECT,
        random_images(structure.image_sizes, 2, 0),
        StepSource.RANDOM,
    )
    metadata = ModelMetadata(graph=network.graph, profile="cpu-int8", plan=network.plan)
    path = tmp_path / "model.onnx"
    path.write_bytes(write_model(network, DIALECT, metadata=to_properties(metadata)).model.SerializeToString())
    return path, metadata


def test_metadata_comes_back_as_it_was_written(exported):
    path, metadata = exported
    assert read_metadata(path) == metadata
    executed = metadata.plan.executed_bits()
    assert executed["stage1.block1.expand"] == Bits(weight=8, activation=8)
    assert {point.name for point in metadata.plan.points} == {
        "head",
        "stage1.block1.project",
        "stage1.block2.project",
        "stage2.block1.project",
        "stage2.block1.shortcut",
        "stage2.block2.project",
    }
    assert metadata.plan.quantized_shortcuts == (
        "stem",
        "stage1.block1.add",
        "stage1.block2.add",
        "stage2.block1.add",
    )


def test_every_node_is_named_after_its_layer(exported):
    path, metadata = exported
    nodes = onnx.load(path).graph.node
    names = [node.name for node in nodes]
    assert len(set(names)) == len(names)
    layers = [layer.name for layer in expand_layers(metadata.structure)]
    owners = {step.name for step in metadata.graph.operations} | {"logits"}
    assert {owner(name) for name in names} == owners
    assert {node.name for node in nodes if node.op_type in {"Conv", "Gemm"}} == {*layers, "stage2.block1.shortcut"}


def test_a_file_without_our_metadata_has_none(exported, tmp_path):
    model = onnx.load(exported[0])
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "foreign.onnx")
    assert read_metadata(tmp_path / "foreign.onnx") is None


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("qedeploy.format", "qedeploy-onnx/9", "expected qedeploy-onnx/1, found qedeploy-onnx/9"),
        ("qedeploy.plan", "{", "metadata qedeploy.plan: missing or not JSON"),
        ("qedeploy.plan", "{}", "qedeploy.plan: profile: expected this key"),
        ("qedeploy.structure", "[]", r"foreign\.onnx: "),
    ],
)
def test_damaged_metadata_is_named(exported, tmp_path, key, value, message):
    model = onnx.load(exported[0])
    next(item for item in model.metadata_props if item.key == key).value = value
    onnx.save(model, tmp_path / "foreign.onnx")
    with pytest.raises(UserError, match=message):
        read_metadata(tmp_path / "foreign.onnx")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no", b"\x08\x07", b"text\n"])
def test_what_is_no_onnx(tmp_path, content):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"model\.onnx: not an ONNX model"):
        read_metadata(path)


def test_twins_are_the_same_network_at_other_widths(exported, tmp_path):
    _, metadata = exported
    layers = {layer.name for layer in expand_layers(metadata.structure)}
    plain, uniform = tmp_path / "float.onnx", tmp_path / "w8a8.onnx"
    write_float_twin(metadata, plain)
    write_w8a8_twin(metadata, uniform, batch=2)
    types = {node.op_type for node in onnx.load(plain).graph.node}
    assert types == {"Conv", "Relu", "Add", "AveragePool", "GlobalAveragePool", "Squeeze", "Gemm", "Identity"}
    twin = onnx.load(uniform)
    assert "Clip" not in {node.op_type for node in twin.graph.node}
    for model in (onnx.load(plain), twin):
        assert {node.name for node in model.graph.node if node.op_type in {"Conv", "Gemm"}} >= layers
        onnx.checker.check_model(model, full_check=True)
    images = random_images(metadata.graph.input, 2, 0).numpy()
    logits = open_session(plain).run(None, {"image": images})[0]
    assert logits.shape == (2, 10)
    assert np.isfinite(logits).all()
    assert open_session(uniform).run(None, {"image": images})[0].shape == (2, 10)
    assert read_metadata(uniform).structure.head.bits == Bits(weight=8, activation=8)


def test_the_float_form_of_a_network_computes_nearly_the_same(tmp_path):
    structure = small_structure(Bits(weight=8, activation=8))
    network = random_network(structure_graph(structure), DIALECT)
    images = random_images(structure.image_sizes, 4, 0).numpy()
    write_float_onnx(network, tmp_path / "float.onnx", DIALECT)
    plain = open_session(tmp_path / "float.onnx").run(None, {"image": images})[0]
    quantized = write_model(DIALECT.arrange(network), DIALECT).model.SerializeToString()
    found = open_session(quantized).run(None, {"image": images})[0]
    assert np.corrcoef(plain.ravel(), found.ravel())[0, 1] > 0.95


def test_mobilenetv2_with_its_linear_bottlenecks_and_relu6_has_twins(tmp_path):
    structure = find_published("MBV2-4bit").structure
    network = random_network(structure_graph(structure), DIALECT)
    model = write_model(DIALECT.arrange(network), DIALECT).model
    onnx.checker.check_model(model, full_check=True)
    open_session(model.SerializeToString())


def test_a_runtime_that_nothing_is_written_for():
    with pytest.raises(RequestError, match="runtime none: qedeploy writes no graph for it"):
        dialect_for("none")
