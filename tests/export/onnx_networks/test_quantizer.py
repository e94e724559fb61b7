"""Layers in integers: that they fuse, compute what was planned, and stay in float32 where they must."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from qedeploy.errors import RequestError
from qedeploy.export.onnx_networks.fused import PlanError, require_planned
from qedeploy.export.onnx_networks.preparation import prepare
from qedeploy.export.onnx_networks.quantized_graph import QuantizedModel
from qedeploy.export.onnx_networks.quantizer import Quantizer, make_quantizer
from qedeploy.export.onnx_networks.sizes import parse_sizes
from qedeploy.runtimes.registry import find_runtime, reference
from tests.export.onnx_networks.networks import Maker, mobile_network, write

EXECUTION = find_runtime("onnxruntime").mixed
SHAPE = (1, 3, 32, 48)


def feeds(shape=SHAPE, count=4, name="image"):
    generator = np.random.default_rng(5)
    return [{name: generator.normal(size=shape).astype(np.float32)} for _ in range(count)]


def quantizer_of(model: onnx.ModelProto, tmp_path, data, shapes=()) -> Quantizer:
    return make_quantizer(prepare(write(model, tmp_path), parse_sizes(shapes)).model, data)


@pytest.fixture
def mobile(tmp_path) -> Quantizer:
    return quantizer_of(mobile_network(), tmp_path, feeds(), ["image=1x3x32x48"])


def operators(quantized: QuantizedModel) -> Counter[str]:
    return Counter(operator for _, operator in EXECUTION.nodes(quantized.model.SerializeToString()))


def error(quantizer: Quantizer, quantized: QuantizedModel, data) -> float:
    """Mean square of the difference over that of the logits, taken before the softmax."""
    outputs = []
    for model in (quantizer.model, quantized.model):
        evaluate = reference().evaluator(model.SerializeToString(), True)
        outputs.append(np.log(np.concatenate([next(iter(evaluate(feed).values())) for feed in data])))
    return float(np.square(outputs[0] - outputs[1]).mean() / outputs[0].var())


@pytest.mark.parametrize("precision", ["W8A8", "W7A8"])
def test_all_layers_of_a_mobile_network_fuse_and_compute_their_plan(mobile, precision):
    quantized = mobile.write(dict.fromkeys(mobile.layers, precision))
    check = require_planned(quantized, list(mobile.layers.values()), feeds()[:2], EXECUTION)
    assert check.kernels == 6
    assert check.integers > 10_000
    counts = operators(quantized)
    assert counts["QLinearConv"] == 5
    assert counts["QGemm"] == 1
    assert counts["QLinearAdd"] == 1
    # The hard swish is integers clipped and one product; the scale and shift behind it are nothing at all.
    assert counts["QLinearMul"] == counts["Clip"] == 1
    assert counts["HardSigmoid"] == counts["BatchNormalization"] == counts["Relu"] == 0
    assert counts["QuantizeLinear"] == 1
    assert error(mobile, quantized, feeds()) < 0.02


def test_seven_bit_weights_do_not_pass_63(mobile):
    quantized = mobile.write(dict.fromkeys(mobile.layers, "W7A8"))
    weights = [numpy_helper.to_array(item) for item in quantized.model.graph.initializer]
    largest = [
        int(np.abs(array.astype(np.int32)).max()) for array in weights if array.dtype == np.int8 and array.ndim > 1
    ]
    assert len(largest) == 6
    assert set(largest) == {63}


@pytest.mark.parametrize("name", ["expand", "depthwise", "project"])
def test_one_layer_alone_fuses_between_layers_in_float(mobile, name):
    layer = next(layer for layer in mobile.layers.values() if name in layer.result or name in layer.name)
    quantized = mobile.write({layer.name: "W8A8"})
    assert require_planned(quantized, [layer], feeds()[:1], EXECUTION).kernels == 1
    assert operators(quantized)["QLinearConv"] == 1
    assert error(mobile, quantized, feeds()) < 0.01


def test_no_layer_in_integers_is_the_float_network(mobile):
    quantized = mobile.write({})
    assert error(mobile, quantized, feeds()) == 0


def test_nothing_is_computed_that_nothing_reads(mobile):
    quantized = mobile.write(dict.fromkeys(mobile.layers, "W8A8"))
    read = {name for node in quantized.model.graph.node for name in node.input} | {"classes"}
    assert all(set(node.output) & read for node in quantized.model.graph.node)


def test_a_layer_that_does_not_fuse_is_named(mobile):
    layer = next(iter(mobile.layers.values()))
    quantized = mobile.write({layer.name: "W8A8"})
    model = onnx.ModelProto()
    model.CopyFrom(quantized.model)
    # Whoever reads the sums before they are quantized keeps them in float32.
    node = next(item for item in model.graph.node if item.name == layer.name)
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info(node.output[0]))
    spoiled = QuantizedModel(model=model, layers=quantized.layers, integers=quantized.integers)
    with pytest.raises(PlanError, match="planned in integers and ONNX Runtime runs it otherwise") as caught:
        require_planned(spoiled, [layer], feeds()[:1], EXECUTION)
    assert caught.value.exit_code == 1


def test_a_kernel_with_other_numbers_is_named(mobile, monkeypatch):
    layer = next(iter(mobile.layers.values()))
    quantized = mobile.write({layer.name: "W8A8"})
    from qedeploy.export.onnx_networks import fused

    cut = fused._cut

    def shifted(model, of):
        alone = onnx.load_model_from_string(cut(model, of))
        weight = next(item for item in alone.graph.initializer if item.name.endswith("weight.integers"))
        array = numpy_helper.to_array(weight).copy()
        array[0] = -array[0]
        weight.CopyFrom(numpy_helper.from_array(array, weight.name))
        return alone.SerializeToString()

    monkeypatch.setattr(fused, "_cut", shifted)
    with pytest.raises(PlanError, match="differs from its plan"):
        require_planned(quantized, [layer], feeds()[:1], EXECUTION)


def test_a_large_bias_on_tiny_weights_does_not_overflow(tmp_path):
    make = Maker()
    make.conv("image", "conv", (8, 3, 3, 3))
    make.weights["conv.w"][2] *= 1e-9
    make.weights["conv.b"][2] = 50.0
    quantizer = quantizer_of(make.model({"image": [1, 3, 8, 8]}, ["conv"]), tmp_path, feeds((1, 3, 8, 8)))
    quantized = quantizer.write({"conv": "W8A8"})
    evaluate = reference().evaluator(quantized.model.SerializeToString(), True)
    channel = evaluate(feeds((1, 3, 8, 8))[0])["conv"][:, 2]
    np.testing.assert_allclose(channel, 50.0, atol=quantizer.grids["conv"].scale)


def two_branches(ratio: float) -> onnx.ModelProto:
    make = Maker()
    make.node("Relu", ["image"], "wide")
    make.node("Mul", ["wide", make.constant("share", 1 / ratio)], "narrow")
    make.node("Sigmoid", ["narrow"], "gate")
    make.node("Mul", ["narrow", "gate"], "small")
    make.node("Concat", ["wide", "small"], "joined", axis=1)
    make.conv("joined", "conv", (4, 6, 1, 1), pads=[0] * 4)
    return make.model({"image": [1, 3, 8, 8]}, ["conv"])


def test_a_layer_that_reads_branches_of_very_different_ranges_stays_in_float(tmp_path):
    quantizer = quantizer_of(two_branches(100.0), tmp_path, feeds((1, 3, 8, 8)))
    assert list(quantizer.refused) == ["conv"]
    assert "joined" in quantizer.refused["conv"]
    assert quantizer.tied[0].worst[1] > 8


def test_branches_of_like_ranges_are_tied_and_allowed(tmp_path):
    quantizer = quantizer_of(two_branches(1.5), tmp_path, feeds((1, 3, 8, 8)))
    assert quantizer.refused == {}
    assert set(quantizer.tied[0].branches) == {"wide", "small"}


def test_a_pooling_shares_the_grid_of_what_it_pools(tmp_path):
    make = Maker()
    make.node("Relu", [make.conv("image", "first", (8, 3, 3, 3))], "relu")
    make.node("MaxPool", ["relu"], "pooled", kernel_shape=[2, 2], strides=[2, 2])
    make.conv("pooled", "second", (8, 8, 3, 3))
    quantizer = quantizer_of(make.model({"image": [1, 3, 16, 16]}, ["second"]), tmp_path, feeds((1, 3, 16, 16)))
    assert quantizer.grids["pooled"] == quantizer.grids["relu"]
    quantized = quantizer.write(dict.fromkeys(quantizer.layers, "W8A8"))
    assert require_planned(quantized, list(quantizer.layers.values()), feeds((1, 3, 16, 16)), EXECUTION).kernels == 2
    assert operators(quantized)["DequantizeLinear"] == 1


def test_an_output_that_layers_read_too_is_returned(tmp_path):
    make = Maker()
    make.node("Relu", [make.conv("image", "first", (8, 3, 3, 3))], "relu")
    make.conv("relu", "second", (8, 8, 3, 3))
    model = make.model({"image": [1, 3, 16, 16]}, ["relu", "second"])
    quantizer = quantizer_of(model, tmp_path, feeds((1, 3, 16, 16)))
    quantized = quantizer.write(dict.fromkeys(quantizer.layers, "W8A8"))
    outputs = reference().evaluator(quantized.model.SerializeToString(), True)(feeds((1, 3, 16, 16))[0])
    assert list(outputs) == ["relu", "second"]
    assert outputs["relu"].min() >= 0


def test_a_network_without_a_layer_for_integers_is_refused(tmp_path):
    make = Maker()
    make.constant("up.w", make.generator.normal(size=(3, 4, 2, 2)))
    make.node("ConvTranspose", ["image", "up.w"], "up", strides=[2, 2])
    with pytest.raises(RequestError, match="no layer of the network could be in integers"):
        quantizer_of(make.model({"image": [1, 3, 8, 8]}, ["up"]), tmp_path, feeds((1, 3, 8, 8)))
