"""Networks of anybody in float16, INT8 and INT4: the grids, the graph, and that both forms compute their plan."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from qedeploy.errors import RequestError
from qedeploy.export.onnx_networks.calibration import observe
from qedeploy.export.onnx_networks.fused import PlanError
from qedeploy.export.onnx_networks.methods import CalibrationMethod
from qedeploy.export.onnx_networks.preparation import prepare
from qedeploy.export.onnx_networks.sizes import parse_sizes
from qedeploy.export.typed_networks.checking import check_typed
from qedeploy.export.typed_networks.half_precision import in_half
from qedeploy.export.typed_networks.layers import W4A16, W8A8
from qedeploy.export.typed_networks.quantizer import make_typed_quantizer
from qedeploy.export.typed_networks.symmetric import block_weights, channel_weights, choose_symmetric
from qedeploy.profiles.loader import load_profile
from qedeploy.runtimes.registry import find_runtime, reference
from tests.export.onnx_networks.networks import FLOAT, Maker, mobile_network, write

TYPED = find_runtime("tensorrt_rtx").typed_graphs()
FEEDS = [{"image": np.random.default_rng(seed).normal(size=(1, 3, 32, 48)).astype(np.float32)} for seed in range(2)]


def quantizer(tmp_path, profile="rtx-40", model=None, feeds=FEEDS):
    prepared = prepare(write(model or mobile_network(sizes=(1, 3, 32, 48)), tmp_path), parse_sizes([]))
    return make_typed_quantizer(prepared, load_profile(profile), TYPED, feeds)


@pytest.fixture(scope="module")
def mobile(tmp_path_factory):
    return quantizer(tmp_path_factory.mktemp("mobile"))


def everywhere(found, precision):
    return {name: precision for name, layer in found.layers.items() if precision in layer.precisions}


def test_layers_have_the_precisions_of_the_profile_and_of_their_shape(mobile, tmp_path):
    assert {layer.layer.kind: layer.precisions for layer in mobile.layers.values()} == {
        "convolution": (W8A8,), "depthwise": (W8A8,), "pointwise": (W8A8, W4A16), "linear": (W8A8, W4A16),
    }  # fmt: skip
    assert {layer.precisions for layer in quantizer(tmp_path, "t4-int8").layers.values()} == {(W8A8,)}
    # 24 x 4 weights: 2 bytes each, or a half with a float16 scale for each 8 of 24 inputs of a column.
    linear = next(layer for layer in mobile.layers.values() if layer.layer.kind == "linear")
    assert [linear.size_bytes(item) for item in ("float16", W8A8, W4A16)] == [192, 96 + 8, 48 + 24]


@pytest.mark.parametrize("precision", [W8A8, W4A16])
def test_both_forms_compute_their_plan(mobile, precision):
    written = mobile.write(everywhere(mobile, precision))
    exact, half = (check_typed(mobile, written, FEEDS, half=half) for half in (False, True))
    assert exact.layers == half.layers == len(everywhere(mobile, precision))
    assert exact.largest < 1e-6
    assert 1e-6 < half.largest < TYPED.float_tolerance
    assert (exact.integers > 0) == (precision == W8A8)
    assert exact.differing == 0


def test_every_planned_layer_is_in_the_graph_as_planned(mobile):
    model = mobile.in_half(mobile.write(everywhere(mobile, W8A8) | everywhere(mobile, W4A16)).model)
    onnx.checker.check_model(model, full_check=True)
    held = [item.data_type for item in model.graph.initializer if len(item.dims) > 1]
    assert (held.count(TensorProto.INT8), held.count(TensorProto.INT4)) == (2, 4)
    # Outside Q/DQ all is float16: float32 is left at both ends alone.
    assert TensorProto.FLOAT not in {item.data_type for item in model.graph.initializer}
    (dequantize,) = [node for node in model.graph.node if node.name == "/MatMulAddFusion.weight.dequantize"]
    assert {item.name: helper.get_attribute_value(item) for item in dequantize.attribute} == {
        "axis": 0,
        "block_size": 8,
    }


def test_of_an_addition_behind_an_int8_layer_the_shortcut_alone_is_quantized(mobile):
    written = mobile.write(everywhere(mobile, W8A8))
    (add,) = [node for node in written.model.graph.node if node.op_type == "Add"]
    assert written.shortcuts == ("stem.relu",)
    assert list(add.input) == ["project", "stem.relu.dequantized"]
    (plain,) = [node for node in mobile.write({"head": W8A8}).model.graph.node if node.op_type == "Add"]
    assert list(plain.input) == ["project", "stem.relu"]


def test_a_shortcut_with_a_layer_of_its_own_gets_a_grid(tmp_path):
    make = Maker()
    make.node("Relu", [make.conv("image", "first", (16, 3, 3, 3))], "relu")
    make.conv("relu", "branch", (16, 16, 3, 3), strides=[2, 2])
    make.conv("relu", "shortcut", (16, 16, 1, 1), strides=[2, 2], pads=[0] * 4)
    make.node("Add", ["branch", "shortcut"], "sum")
    make.node("Relu", ["sum"], "result")
    found = quantizer(tmp_path, model=make.model({"image": (1, 3, 32, 48)}, ["result"]))
    written = found.write(everywhere(found, W8A8))
    assert written.shortcuts == ("shortcut",)
    assert check_typed(found, written, FEEDS, half=True).layers == 3


@pytest.mark.parametrize("automatic", [b"SAME_UPPER", b"SAME_LOWER"])
def test_automatic_padding_is_as_onnx_says(automatic, tmp_path):
    make = Maker()
    names = [make.constant("w", make.generator.normal(0, 0.2, (8, 3, 4, 3))), make.constant("b", np.ones(8))]
    make.node("Conv", ["image", *names], "result", kernel_shape=[4, 3], strides=[2, 1], auto_pad=automatic)
    found = quantizer(tmp_path, model=make.model({"image": (1, 3, 32, 48)}, ["result"]))
    assert check_typed(found, found.write(everywhere(found, W8A8)), FEEDS, half=False).largest < 1e-6


def test_a_product_of_sequences_is_checked_row_by_row(tmp_path):
    make = Maker()
    make.constant("w", make.generator.normal(0, 0.2, (48, 16)))
    make.node("MatMul", ["image", "w"], "product")
    model = make.model({"image": (1, 3, 32, 48)}, ["product"])
    found = quantizer(tmp_path, model=model)
    (layer,) = found.layers.values()
    assert layer.found.use.queries == 3 * 32
    for precision in (W8A8, W4A16):
        assert check_typed(found, found.write({layer.name: precision}), FEEDS, half=True).layers == 1


def test_a_graph_with_another_weight_is_no_plan(mobile):
    written = mobile.write(everywhere(mobile, W8A8))
    weight = next(item for item in written.model.graph.initializer if item.name == "head.weight")
    array = numpy_helper.to_array(weight).copy()
    array[3] = -array[3]
    weight.CopyFrom(numpy_helper.from_array(array, weight.name))
    with pytest.raises(PlanError, match="head: its result is off by"):
        check_typed(mobile, written, FEEDS, half=False)
    again = mobile.write(everywhere(mobile, W8A8))
    wider = {name: dataclasses.replace(grid, scale=2 * grid.scale) for name, grid in again.grids.items()}
    with pytest.raises(PlanError, match="its integers differ from the plan"):
        check_typed(mobile, dataclasses.replace(again, grids=wider), FEEDS, half=False)


def test_weights_of_a_channel_reach_127_and_blocks_of_four_bits_round_least():
    weight = np.random.default_rng(0).normal(size=(6, 64, 3, 3)).astype(np.float32)
    held = channel_weights(weight, 0, TYPED.round_scale)
    assert set(np.abs(held.integers).reshape(6, -1).max(axis=1)) == {127}
    assert np.abs(held.integers * held.scale[:, None, None, None] - weight).max() <= held.scale.max() * 0.52
    assert np.array_equal(held.scale, held.scale.astype(np.float16))
    matrix = np.random.default_rng(1).normal(size=(64, 10)).astype(np.float32)
    blocks = block_weights(matrix, 16, TYPED.round_scale)
    assert blocks.scale.shape == (4, 10)
    assert blocks.integers.min() >= -8
    assert blocks.integers.max() <= 7
    largest = np.abs(matrix.reshape(4, 16, 10)).max(axis=1) / 7
    plain = np.clip(np.rint(matrix.reshape(4, 16, 10) / largest[:, None]), -8, 7) * largest[:, None]
    found = blocks.integers.reshape(4, 16, 10) * blocks.scale[:, None]
    assert ((found - matrix.reshape(4, 16, 10)) ** 2).sum() < ((plain - matrix.reshape(4, 16, 10)) ** 2).sum()


def test_a_grid_covers_what_was_seen_or_rounds_least(tmp_path):
    numbers = np.random.default_rng(3).standard_t(3, size=(1, 3, 32, 48)).astype(np.float32)
    make = Maker()
    make.node("Identity", ["image"], "same")
    model = make.model({"image": (1, 3, 32, 48)}, ["same"])
    seen = observe(model, ["image"], [{"image": numbers}])["image"]
    covering = choose_symmetric(seen, CalibrationMethod.MIN_MAX, TYPED.round_scale)
    assert covering.high == pytest.approx(np.abs(numbers).max(), rel=2e-3)
    best = choose_symmetric(seen, CalibrationMethod.MSE, TYPED.round_scale)

    def error(grid):
        return ((np.clip(np.rint(numbers / grid.scale), -128, 127) * grid.scale - numbers) ** 2).sum()

    assert best.scale < covering.scale
    assert error(best) < error(covering)


def test_what_must_be_float32_stays_so_between_casts(tmp_path):
    make = Maker()
    make.conv("image", "conv", (4, 3, 3, 3))
    make.node("Resize", ["conv", "", make.constant("scales", [1, 1, 2, 2])], "large", mode="linear")
    make.node("Mul", ["large", make.constant("mask", [-1e9])], "masked")
    make.node("RandomNormalLike", ["conv"], "noise", seed=1.0)
    make.node("Cast", ["noise"], "cast", to=FLOAT)
    make.node("Mul", ["cast", make.constant("nothing", [0.0])], "silent")
    make.node("Add", ["conv", "silent"], "result")
    model = make.model({"image": (1, 3, 8, 8)}, ["masked", "result"], opset=17)
    half = in_half(model, tmp_path / "network.onnx")
    onnx.shape_inference.infer_shapes(half, check_type=True, strict_mode=True)
    types = {item.name: item.data_type for item in half.graph.initializer}
    assert (types["scales.float32"], types["conv.w"]) == (TensorProto.FLOAT, TensorProto.FLOAT16)
    assert numpy_helper.to_array(next(i for i in half.graph.initializer if i.name == "mask")) == -65504
    feed = {"image": np.random.default_rng(0).normal(size=(1, 3, 8, 8)).astype(np.float32)}
    expected, found = (reference().exact(item.SerializeToString(), False)(feed) for item in (model, half))
    assert found["result"].dtype == np.float32
    assert np.allclose(found["result"], expected["result"], atol=4e-3 * np.abs(expected["result"]).max())


def test_control_flow_is_refused_by_name(tmp_path):
    inner = helper.make_node("Identity", ["image"], ["inner"])
    branch = helper.make_graph([inner], "branch", [], [helper.make_tensor_value_info("inner", FLOAT, None)])
    make = Maker()
    make.weights["yes"] = np.asarray(True)
    make.nodes.append(helper.make_node("If", ["yes"], ["out"], name="choice", then_branch=branch, else_branch=branch))
    model = make.model({"image": (1, 3, 8, 8)}, ["out"])
    with pytest.raises(RequestError, match=r"n\.onnx: If 'choice' is control flow"):
        in_half(model, tmp_path / "n.onnx")
