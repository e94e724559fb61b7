"""Parts of a network as graphs of their own: together they are the network."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from qedeploy.export.baselines import random_network
from qedeploy.network.graph import structure_graph
from qedeploy.network.layers import expand_layers
from qedeploy.network.structure import Bits
from qedeploy.qdq.graph_builder import owner
from qedeploy.qdq.writer import FRAGMENT_INPUT, write_fragment, write_model
from qedeploy.runtimes.registry import dialect_for
from tests.export.networks import small_structure


def run(model, value):
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: value})[0]


@pytest.mark.parametrize("pooled", [True, False])
@pytest.mark.parametrize("bits", [Bits(weight=8, activation=8), Bits(weight=4, activation=5)])
def test_fragments_one_behind_the_other_compute_what_the_whole_network_does(bits, pooled):
    structure = small_structure(bits, resolution=32, pooled=pooled)
    dialect = dialect_for("onnxruntime")
    network = dialect.arrange(random_network(structure_graph(structure), dialect))
    image = np.random.default_rng(0).standard_normal((2, 3, 32, 32)).astype(np.float32)
    value = image
    for block in dict.fromkeys(layer.block for layer in expand_layers(structure)):
        value = run(write_fragment(network, dialect, {block}), value)
    assert np.array_equal(value, run(write_model(network, dialect).model, image))


def test_adjoining_blocks_may_be_one_fragment():
    structure = small_structure()
    dialect = dialect_for("onnxruntime")
    network = dialect.arrange(random_network(structure_graph(structure), dialect))
    whole = write_model(network, dialect, batch=1).model
    fragment = write_fragment(network, dialect, {"head", "classifier"}, batch=1)
    assert {owner(node.name) for node in fragment.graph.node} == {"head", "pool", "classifier", "output"}
    assert [value.name for value in fragment.graph.input] == [FRAGMENT_INPUT]
    shape = [size.dim_value for size in fragment.graph.input[0].type.tensor_type.shape.dim]
    last = expand_layers(structure)[-3]
    assert shape == [1, last.out_channels, last.output_size, last.output_size]
    names = {node.name for node in whole.graph.node}
    assert {node.name for node in fragment.graph.node if node.name != "output"} <= names


@pytest.mark.parametrize("runtime", ["onnxruntime", "tensorrt"])
def test_every_dialect_writes_fragments(runtime):
    structure = small_structure(Bits(weight=8, activation=8))
    dialect = dialect_for(runtime)
    network = dialect.arrange(random_network(structure_graph(structure), dialect))
    for block in ("stem", "stage1.block1", "stage2.block1", "head"):
        value = np.ones((1, *fragment_input(write_fragment(network, dialect, {block}, batch=1))), np.float32)
        assert np.isfinite(run(write_fragment(network, dialect, {block}, batch=1), value)).all()


def fragment_input(model):
    return [size.dim_value for size in model.graph.input[0].type.tensor_type.shape.dim][1:]
