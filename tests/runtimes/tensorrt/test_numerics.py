"""Graphs for TensorRT in ONNX Runtime, against PyTorch's run of their plan: exactly in float32, nearly in float16."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qedeploy.errors import RequestError
from qedeploy.export.comparison import Comparison, compare_with_pytorch
from qedeploy.network.layers import expand_layers
from qedeploy.network.published import find_published
from qedeploy.network.structure import Bits, Structure
from qedeploy.profiles.profile import Lowering
from qedeploy.qdq import simulation
from qedeploy.qdq.fold import FoldedLayer
from qedeploy.qdq.images import random_images
from qedeploy.qdq.lowered import LoweredNetwork
from qedeploy.qdq.writer import write_model
from qedeploy.runtimes.nvidia.dialect import TensorRTDialect, block_size
from qedeploy.runtimes.nvidia.fallback import without_quantization
from qedeploy.runtimes.nvidia.half import in_half, round_scale
from qedeploy.runtimes.onnxruntime.session import open_session
from tests.tensorrt_cpu.models import W4A16, W8A8, lowered, structure

IMAGES = 2


def compared(network: LoweredNetwork, dialect: TensorRTDialect) -> Comparison:
    images = random_images(network.graph.input, IMAGES, 0)
    written = write_model(network, dialect)
    onnx.checker.check_model(written.model, full_check=True)
    onnx.shape_inference.infer_shapes(written.model, check_type=True, strict_mode=True, data_prop=True)
    expected = simulation.logits(network, images)
    found = compare_with_pytorch(
        network, written, images, expected, float_tolerance=dialect.float_tolerance, rounding=dialect.rounding
    )
    assert found.passed, [check for check in found.checks if not check.passed]
    return found


def both_forms(described: Structure, profile: str = "t4-int8", *, seed: int = 0) -> LoweredNetwork:
    network = lowered(described, profile, seed=seed)
    exact = compared(network, TensorRTDialect(exact=True))
    assert exact.logit_difference < 2e-3 * exact.logit_range
    half = compared(network, TensorRTDialect())
    assert half.logit_difference < 0.05 * half.logit_range
    return network


@pytest.mark.parametrize("width", range(2, 9))
def test_every_width_carried_in_int8(width):
    bits = Bits(weight=width, activation=width)
    both_forms(structure(expand=bits, depthwise=bits, project=bits, head=bits, classifier=bits), seed=width)


@pytest.mark.parametrize(
    "described",
    [
        structure(expand=W4A16, project=W4A16, head=W4A16, classifier=W4A16, kernel=5),
        structure(expand=W4A16, depthwise=Bits(weight=3, activation=4), resolution=33),
        structure(project=W4A16, classifier=W4A16, pooled=False),
        structure(expand=W4A16, project=W4A16, channels=20, bottleneck=60, classifier=W4A16, classes=7),
    ],
    ids=["all", "expand", "project", "no blocks"],
)
def test_4_bit_weights(described):
    network = both_forms(described, "t4-int4")
    model = write_model(network, TensorRTDialect()).model
    types = {item.name: item.data_type for item in model.graph.initializer}
    planned = [layer for layer in network.plan.layers if layer.lowering is Lowering.INT4_WEIGHT_ONLY]
    layers = {layer.name: layer for layer in expand_layers(described)}
    for plan in planned:
        four_bits = types[f"{plan.name}.weight"] == onnx.TensorProto.INT4
        assert four_bits == (block_size(layers[plan.name]) is not None)
        assert any(note.startswith(f"{plan.name}: ") for note in network.plan.notes)


def test_mobilenetv2_with_its_relu6_and_signed_adds():
    described = dataclasses.replace(find_published("MBV2-4bit").structure, resolution=32)
    network = lowered(described)
    exact = compared(network, TensorRTDialect(exact=True))
    assert exact.logit_difference < 2e-3 * exact.logit_range
    compared(network, TensorRTDialect())


def test_the_graph_is_what_tensorrt_fuses():
    """Q/DQ on the inputs of convolutions and on pooled shortcuts only, float16 between the casts at both ends."""
    carried = Bits(weight=4, activation=4)
    network = lowered(structure(expand=carried, depthwise=carried, project=carried))
    model = write_model(network, TensorRTDialect()).model
    nodes = {node.output[0]: node for node in model.graph.node}
    types = {item.name: item.data_type for item in model.graph.initializer}
    assert {node.op_type for node in model.graph.node} == {
        "Cast", "Clip", "QuantizeLinear", "DequantizeLinear", "Conv", "Relu", "Add", "AveragePool",
        "GlobalAveragePool", "Flatten",
    }  # fmt: skip
    for node in model.graph.node:
        if node.op_type == "Conv":
            value, weight, bias = node.input
            assert nodes[value].op_type == nodes[weight].op_type == "DequantizeLinear"
            assert types[bias] == onnx.TensorProto.FLOAT16
            assert [item.i for item in nodes[weight].attribute if item.name == "axis"] == [0]
        if node.op_type == "Add":
            branch, shortcut = node.input
            assert nodes[branch].op_type == "Conv"
            assert nodes[shortcut].op_type == "DequantizeLinear"
        if node.op_type in {"QuantizeLinear", "DequantizeLinear"}:
            assert types[node.input[1]] == onnx.TensorProto.FLOAT16
    zeros = [item for item in model.graph.initializer if item.name.endswith("zero_point")]
    assert all(not onnx.numpy_helper.to_array(item).any() for item in zeros)
    assert [item.type.tensor_type.elem_type for item in (*model.graph.input, *model.graph.output)] == [1, 1]
    assert [point.name for point in network.plan.points] == ["stage2.block1.shortcut"]


def test_a_narrower_grid_is_a_float_clip_before_q():
    network = lowered(structure(depthwise=Bits(weight=8, activation=3)))
    written = write_model(network, TensorRTDialect())
    clips = [node for node in written.model.graph.node if node.op_type == "Clip"]
    assert {node.name for node in clips} == {f"stage{s}.block{b}.depthwise.clip" for s, b in ((1, 1), (2, 1), (2, 2))}
    session = open_session(_exposing(written.model, written.quantized["stage1.block1.expand"].integers))
    images = random_images(network.graph.input, IMAGES, 0).numpy() * 10
    integers = session.run(None, {"image": images})[-1]
    assert (int(integers.min()), int(integers.max())) == (0, 7)


def test_layers_without_a_kernel_run_in_float16():
    network = lowered(structure(kernel=5))
    names = ("stage1.block1.depthwise", "stage1.block1.expand", "head")
    changed = without_quantization(network, names)
    for dialect in (TensorRTDialect(exact=True), TensorRTDialect()):
        compared(changed, dialect)
    plans = {layer.name: layer for layer in changed.plan.layers}
    assert {plans[name].lowering for name in names} == {Lowering.FLOAT16}
    assert plans["stage1.block1.depthwise"].input is None
    # The first block's input is its shortcut as well: the add still needs it quantized.
    assert plans["stage1.block1.expand"].input is not None
    assert changed.plan.executed_bits()["head"] == Bits(weight=16, activation=16)
    assert sum("no INT8 kernel" in note for note in changed.plan.notes) == len(names)


@given(st.lists(st.floats(1e-9, 6e4), min_size=1, max_size=8))
def test_rounded_scales_are_float16_and_never_zero(scales):
    before = np.asarray(scales)
    after = round_scale(before)
    assert (after == after.astype(np.float16)).all()
    assert (after > 0).all()
    normal = before >= 2**-14
    assert (np.abs(after - before)[normal] <= before[normal] * 2**-11).all()
    assert (after >= before)[~normal].all()


@given(st.integers(0, 2**32 - 1), st.floats(-24, 2))
def test_rounding_to_float16_keeps_the_weights_values(seed, exponent):
    generator = np.random.default_rng(seed)
    scale = (2**exponent * generator.uniform(0.5, 2.0, 4)).astype(np.float32)
    layer = FoldedLayer(
        weight=generator.integers(-127, 128, (4, 6, 1, 1)).astype(np.int8), scale=scale, bias=np.zeros(4)
    )
    network = lowered(structure())
    first = next(iter(network.layers))
    rounded = in_half(dataclasses.replace(network, layers={**network.layers, first: layer})).layers[first]
    before = layer.weight * scale[:, None, None, None].astype(np.float64)
    after = rounded.weight * rounded.scale[:, None, None, None].astype(np.float64)
    unit = rounded.scale[:, None, None, None].astype(np.float64)
    assert (np.abs(before - after) <= np.maximum(unit / 2, np.abs(before) * 2**-11) * (1 + 1e-6)).all()
    assert np.abs(rounded.weight).max() <= 127


def test_what_float16_cannot_hold_is_named():
    network = lowered(structure())
    loud = dataclasses.replace(network.layers["head"], bias=np.full(64, 1e6))
    with pytest.raises(RequestError, match="head: a bias of 1e\\+06 is more than float16 holds"):
        in_half(dataclasses.replace(network, layers={**network.layers, "head": loud}))


def test_4_bit_weights_are_packed_as_onnx_says():
    network = lowered(structure(head=W4A16), "t4-int4")
    model = write_model(network, TensorRTDialect()).model
    tensor = next(item for item in model.graph.initializer if item.name == "head.weight")
    expected = network.layers["head"].weight.reshape(64, -1).T
    assert np.array_equal(onnx.numpy_helper.to_array(tensor).astype(np.int8), expected)


def test_both_forms_hold_the_same_integers():
    network = lowered(structure(expand=W8A8))
    forms = [write_model(network, TensorRTDialect(exact=exact)).model for exact in (True, False)]
    held = [
        {item.name: item.SerializeToString() for item in model.graph.initializer if item.data_type == 3}
        for model in forms
    ]
    assert held[0] == held[1]
    assert held[0]


def _exposing(model: onnx.ModelProto, name: str) -> bytes:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    found = {item.name: item for item in onnx.shape_inference.infer_shapes(copy).graph.value_info}
    copy.graph.output.append(found[name])
    return copy.SerializeToString()
