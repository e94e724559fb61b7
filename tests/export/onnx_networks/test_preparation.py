"""Preparing float ONNX files: what is folded, that nothing changes, and what is refused."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from qedeploy.errors import RequestError, UserError
from qedeploy.export.onnx_networks import preparation
from qedeploy.export.onnx_networks.file import opset_of
from qedeploy.export.onnx_networks.preparation import prepare
from qedeploy.export.onnx_networks.sizes import parse_sizes
from tests.export.onnx_networks.networks import FLOAT, Maker, mobile_network, write

SHAPE = parse_sizes(["image=1x3x32x48"])


def count(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def run(model: onnx.ModelProto, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"]).run(None, feed)


def assert_same(first: onnx.ModelProto, second: onnx.ModelProto, image: np.ndarray) -> None:
    expected, found = run(first, {"image": image})[0], run(second, {"image": image})[0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_mobile_network_is_folded_to_what_the_runtime_fuses_and_computes_the_same(tmp_path):
    model = mobile_network()
    prepared = prepare(write(model, tmp_path), SHAPE)
    counts = count(prepared.model)
    assert counts["HardSigmoid"] == 1
    assert counts["Clip"] == counts["Div"] == counts["Constant"] == 0
    # The scale and shift behind the hard swish stand before a padded convolution: they stay, as one operator.
    assert counts["BatchNormalization"] == 1
    assert counts["Gemm"] == 1
    assert counts["Conv"] == 5
    assert prepared.inputs == {"image": (1, 3, 32, 48)}
    assert opset_of(prepared.model) == preparation.OPSET
    image = np.random.default_rng(3).uniform(-2, 2, (1, 3, 32, 48)).astype(np.float32)
    expected, found = run(model, {"image": image})[0], run(prepared.model, {"image": image})[0]
    assert np.abs(expected - found).max() < 1e-5
    names = [node.name for node in prepared.model.graph.node]
    assert len(set(names)) == len(names)
    assert "" not in names


def test_scales_before_a_convolution_without_padding_go_into_it(tmp_path):
    make = Maker()
    make.node("Relu", ["image"], "relu")
    make.node("Mul", ["relu", make.constant("s", np.linspace(0.5, 2, 3).reshape(1, 3, 1, 1))], "scaled")
    make.node("Sub", [make.constant("t", [1.5]), "scaled"], "moved")
    make.conv("moved", "conv", (6, 1, 3, 3), group=3, pads=[0] * 4)
    model = make.model({"image": [1, 3, 9, 9]}, ["conv"])
    prepared = prepare(write(model, tmp_path)).model
    assert count(prepared) == {"Relu": 1, "Conv": 1}
    image = np.random.default_rng(1).normal(size=(1, 3, 9, 9)).astype(np.float32)
    assert_same(model, prepared, image)


def test_normalisation_behind_a_transposed_convolution_goes_into_it(tmp_path):
    make = Maker()
    make.constant("up.w", make.generator.normal(0, 0.3, (4, 3, 2, 2)))
    make.node("ConvTranspose", ["image", "up.w"], "up", strides=[2, 2], group=2)
    make.batch_norm("up", "normal", 6)
    model = make.model({"image": [1, 4, 5, 5]}, ["normal"])
    prepared = prepare(write(model, tmp_path)).model
    assert count(prepared) == {"ConvTranspose": 1}
    image = np.random.default_rng(1).normal(size=(1, 4, 5, 5)).astype(np.float32)
    assert_same(model, prepared, image)


def test_a_gelu_keeps_the_form_that_the_runtime_fuses(tmp_path):
    make = Maker()
    make.conv("image", "conv", (4, 3, 1, 1))
    make.node("Div", ["conv", make.constant("root", [2**0.5])], "divided")
    make.node("Erf", ["divided"], "erf")
    make.node("Add", ["erf", make.constant("one", [1.0])], "raised")
    make.node("Mul", ["conv", "raised"], "product")
    make.node("Mul", ["product", make.constant("half", [0.5])], "gelu")
    make.conv("gelu", "last", (4, 4, 1, 1))
    prepared = prepare(write(make.model({"image": [1, 3, 4, 4]}, ["last"]), tmp_path)).model
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    onnxruntime.InferenceSession(prepared.SerializeToString(), options, ["CPUExecutionProvider"])
    assert count(onnx.load(options.optimized_model_filepath))["Gelu"] == 1


def test_a_value_that_two_read_is_not_folded_away(tmp_path):
    make = Maker()
    make.conv("image", "conv", (4, 3, 1, 1))
    make.node("Mul", ["conv", make.constant("two", [2.0])], "twice")
    make.node("Add", ["twice", "conv"], "sum")
    prepared = prepare(write(make.model({"image": [1, 3, 4, 4]}, ["sum"]), tmp_path)).model
    assert count(prepared)["Mul"] == 1


def test_an_old_file_whose_weights_are_inputs_is_read(tmp_path):
    make = Maker()
    make.node("Relu", [make.conv("image", "conv", (4, 3, 3, 3))], "out")
    model = make.model({"image": ["n", 3, 8, 8]}, ["out"], opset=7)
    model.ir_version = 3
    for name, array in make.weights.items():
        model.graph.input.append(helper.make_tensor_value_info(name, FLOAT, array.shape))
    prepared = prepare(write(model, tmp_path))
    assert prepared.inputs == {"image": (1, 3, 8, 8)}
    assert [item.name for item in prepared.model.graph.input] == ["image"]


def test_local_functions_are_written_out(tmp_path):
    make = Maker()
    make.conv("image", "conv", (4, 3, 1, 1))
    make.nodes.append(helper.make_node("Twice", ["conv"], ["out"], domain="mine"))
    model = make.model({"image": [1, 3, 4, 4]}, ["out"], opset=17)
    body = [helper.make_node("Add", ["a", "a"], ["b"])]
    model.functions.append(helper.make_function("mine", "Twice", ["a"], ["b"], body, [helper.make_opsetid("", 17)]))
    model.opset_import.append(helper.make_opsetid("mine", 1))
    model.ir_version = 8
    assert "Twice" not in count(prepare(write(model, tmp_path)).model)


def test_an_output_that_changes_is_named_and_refused(tmp_path, monkeypatch):
    def spoil(model: onnx.ModelProto) -> onnx.ModelProto:
        weight = next(item for item in model.graph.initializer if item.name.startswith("head"))
        array = numpy_helper.to_array(weight)
        weight.CopyFrom(numpy_helper.from_array(array * np.float32(1.01), weight.name))
        return model

    monkeypatch.setattr(preparation, "fold_affine", spoil)
    with pytest.raises(RequestError, match=r"'classes' differs from the original by .* of its range"):
        prepare(write(mobile_network(), tmp_path), SHAPE)


def simple(tmp_path, edit=lambda make: None, **options):
    make = Maker()
    make.conv("image", "conv", (4, 3, 3, 3))
    edit(make)
    return write(make.model({"image": [1, 3, 8, 8]}, ["conv"], **options), tmp_path)


def test_open_sizes_are_named_with_the_option(tmp_path):
    with pytest.raises(UserError, match=r"--shape image=1x3xNxN"):
        prepare(write(mobile_network(), tmp_path))


def test_a_quantized_file_is_refused(tmp_path):
    make = Maker()
    scale = make.constant("scale", 0.1)
    make.node("QuantizeLinear", ["image", scale], "q")
    make.node("DequantizeLinear", ["q", scale], "dq")
    make.conv("dq", "conv", (4, 3, 3, 3))
    path = write(make.model({"image": [1, 3, 8, 8]}, ["conv"], opset=13), tmp_path)
    with pytest.raises(RequestError, match=r"quantized already \(1 QuantizeLinear, 1 DequantizeLinear\)"):
        prepare(path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_named(tmp_path, value):
    def spoil(make: Maker) -> None:
        make.weights["conv.w"][1, 2, 0, 0] = value

    with pytest.raises(UserError, match=r"'conv.w' of conv holds NaN or infinity"):
        prepare(simple(tmp_path, spoil))


def test_missing_external_weights_are_named(tmp_path):
    path = simple(tmp_path)
    onnx.save_model(onnx.load(path), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    prepare(path)
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(UserError, match=r"weights\.bin, which is not there"):
        prepare(path)
    (tmp_path / "weights.bin").write_bytes(b"1234")
    with pytest.raises(UserError, match=r"weights\.bin cannot be read"):
        prepare(path)


def test_custom_operators_are_named(tmp_path):
    make = Maker()
    make.conv("image", "conv", (4, 3, 1, 1))
    make.nodes.append(helper.make_node("Gelu", ["conv"], ["out"], domain="com.microsoft"))
    model = make.model({"image": [1, 3, 4, 4]}, ["out"])
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    with pytest.raises(RequestError, match=r"com\.microsoft\.Gelu"):
        prepare(write(model, tmp_path))
    model.graph.node[1].domain = "mine"
    with pytest.raises(RequestError, match="ONNX Runtime refuses it"):
        prepare(write(model, tmp_path))


def test_layers_inside_control_flow_are_named(tmp_path):
    make = Maker()
    make.conv("image", "first", (4, 3, 1, 1))
    make.constant("w", make.generator.normal(size=(4, 4, 1, 1)))
    branches = [
        helper.make_graph([helper.make_node(kind, inputs, [f"{kind}.out"])], kind, [], [
            helper.make_tensor_value_info(f"{kind}.out", FLOAT, None)])
        for kind, inputs in (("Conv", ["first", "w"]), ("Relu", ["first"]))
    ]  # fmt: skip
    make.node("ReduceSum", ["first"], "sum", keepdims=0)
    make.node("Cast", ["sum"], "flag", to=TensorProto.BOOL)
    make.node("If", ["flag"], "out", then_branch=branches[0], else_branch=branches[1])
    with pytest.raises(RequestError, match=r"If .* holds layers \(Conv\)"):
        prepare(write(make.model({"image": [1, 3, 4, 4]}, ["out"]), tmp_path))


def test_a_graph_without_a_layer_is_refused(tmp_path):
    make = Maker()
    make.node("Relu", ["image"], "out")
    with pytest.raises(RequestError, match="has no layer"):
        prepare(write(make.model({"image": [1, 3]}, ["out"]), tmp_path))


@pytest.mark.parametrize("content", [b"", b"not a model at all", b"\x08\x07"])
def test_a_file_that_is_no_model_is_refused(tmp_path, content):
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"net\.onnx: not an ONNX model"):
        prepare(path)


def test_a_file_older_than_opset_7_is_refused(tmp_path):
    with pytest.raises(UserError, match="opset 7 or later, found opset 6"):
        prepare(simple(tmp_path, opset=6))


def test_a_half_written_file_is_refused(tmp_path):
    path = simple(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="not an ONNX model"):
        prepare(path)
