"""Layers of files of any maker, read as they are."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from qedeploy.export.onnx_networks.layer_table import layers_of, read_layers
from qedeploy.network.layers import LayerCategory
from tests.export.onnx_networks.networks import Maker, mobile_network, write


def test_a_float_network_with_its_sizes(tmp_path):
    found = read_layers(write(mobile_network(), tmp_path), {"image": (1, 3, 32, 48)})
    by_name = {layer.name: layer for layer in found.layers}
    area = 16 * 24
    assert {name: layer.use.macs for name, layer in by_name.items()} == {
        "stem": 16 * 27 * area,
        "expand": 32 * 16 * area,
        "depthwise": 32 * 9 * area,
        "project": 16 * 32 * area,
        "head": 24 * 16 * area,
        "linear.product": 24 * 4,
    }
    kinds = [layer.use.category for layer in found.layers]
    pointwise = LayerCategory.POINTWISE
    assert kinds == [
        LayerCategory.CONVOLUTION, pointwise, LayerCategory.DEPTHWISE, pointwise, pointwise, LayerCategory.LINEAR,
    ]  # fmt: skip
    assert by_name["stem"].use.weights == 16 * 27
    assert by_name["stem"].use.values == 3 * 32 * 48 + 16 * area
    assert not any(layer.quantized or layer.obstacle for layer in found.layers)


def test_names_of_fused_nodes_lead_to_their_layer(tmp_path):
    found = read_layers(write(mobile_network(), tmp_path), {"image": (1, 3, 32, 48)})
    assert found.owner("stem.relu") == "stem"
    assert found.owner("expand.act") == "expand"
    assert found.owner("residual") == "project"
    assert found.owner("linear.product/MatMulAddFusion") == "linear.product"
    assert found.owner("pool") is None


def test_weights_in_constant_nodes_and_transposed_convolutions():
    make = Maker()
    weight = numpy_helper.from_array(np.ones((3, 4, 2, 2), np.float32))
    make.node("Constant", [], "w", value=weight)
    make.node("ConvTranspose", ["image", "w"], "up", strides=[2, 2])
    (layer,) = layers_of(make.model({"image": [1, 3, 5, 6]}, ["up"])).layers
    assert layer.use.macs == 3 * 4 * 4 * 5 * 6
    assert layer.use.category is LayerCategory.CONVOLUTION


@pytest.mark.parametrize(
    ("weight", "read", "made", "attributes", "macs"),
    [
        ((8, 4, 3), (2, 4, 10), (2, 8, 8), {}, 2 * 8 * 4 * 3 * 8),
        ((8, 4, 2, 3, 3), (1, 4, 5, 6, 7), (1, 8, 4, 4, 5), {}, 8 * 4 * 18 * 4 * 4 * 5),
        (
            (8, 1, 3, 3),
            (1, 8, 6, 6),
            (1, 8, 3, 3),
            {"group": 8, "auto_pad": "SAME_UPPER", "strides": [2, 2]},
            8 * 9 * 9,
        ),
        ((6, 4, 4, 4), (1, 6, 5, 5), (1, 8, 10, 10), {"group": 2, "strides": [2, 2], "pads": [1] * 4}, 6 * 4 * 16 * 25),
    ],
)
def test_convolutions_of_any_axes_padding_and_direction_have_their_products(weight, read, made, attributes, macs):
    operator = "ConvTranspose" if weight[0] == 6 else "Conv"
    (use,) = [layer.use for layer in layers_of(convolution(operator, weight, read, attributes)).layers]
    assert use.macs == macs
    assert use.weights == np.prod(weight)
    assert use.layer.groups == attributes.get("group", 1)
    back = (read, made) if operator == "Conv" else (made, read)
    assert (use.layer.input[1:], use.layer.output[1:]) == tuple((1, *item[2:])[-2:] for item in back)


def convolution(operator, weight, read, attributes):
    make = Maker()
    make.node(operator, ["image", make.constant("w", np.ones(weight))], "out", **attributes)
    return make.model({"image": read}, ["out"])


def test_products_with_several_matrices_count_each_once():
    make = Maker()
    make.node("MatMul", ["x", make.constant("w", np.ones((5, 6, 7)))], "y")
    (layer,) = layers_of(make.model({"x": [5, 3, 6]}, ["y"])).layers
    assert (layer.use.macs, layer.use.weights) == (5 * 3 * 6 * 7, 5 * 6 * 7)


def test_a_product_of_two_computed_values_is_no_layer():
    make = Maker()
    make.node("Transpose", ["x"], "t", perm=[1, 0])
    make.node("MatMul", ["x", "t"], "y")
    assert layers_of(make.model({"x": [4, 4]}, ["y"])).layers == ()


def test_sizes_that_cannot_be_inferred_are_measured():
    make = Maker()
    make.conv("image", "conv", (4, 3, 3, 3))
    scale, zero = make.constant("scale", 0.1), "zero"
    make.node("QuantizeLinear", ["conv", scale, zero], "q")
    # Nothing infers shapes behind an operator that is not ONNX's own.
    inputs = ["q", scale, zero, "q", scale, zero, scale, zero]
    make.nodes.append(helper.make_node("QLinearAdd", inputs, ["sum"], domain="com.microsoft"))
    make.node("DequantizeLinear", ["sum", scale, zero], "dq")
    make.conv("dq", "last", (5, 4, 1, 1), pads=[0] * 4)
    model = make.model({"image": [1, 3, 8, 8]}, ["last"], opset=13)
    model.graph.initializer.append(numpy_helper.from_array(np.uint8(128), "zero"))
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    assert [layer.use.macs for layer in layers_of(model).layers] == [4 * 27 * 64, 5 * 4 * 64]


def quantized(
    *, zero: np.generic = np.uint8(0), input_pair=True, between=("Relu",), end="QuantizeLinear"
) -> onnx.ModelProto:
    """Return one convolution in QDQ form, wrong as asked."""
    make = Maker()
    scale = make.constant("scale", 0.05)
    source = "image"
    if input_pair:
        make.node("QuantizeLinear", ["image", scale, "zero.in"], "image.q")
        source = make.node("DequantizeLinear", ["image.q", scale, "zero.in"], "image.dq")
    make.node("DequantizeLinear", ["weight", scale], "weight.dq")
    value = make.node("Conv", [source, "weight.dq"], "conv", kernel_shape=[1, 1])
    for operator in between:
        value = make.node(operator, [value], f"{value}.{operator.lower()}")
    if end == "QuantizeLinear":
        make.node("QuantizeLinear", [value, scale, "zero.out"], "out.q")
        value = make.node("DequantizeLinear", ["out.q", scale, "zero.out"], "out")
    model = make.model({"image": [1, 3, 4, 4]}, [value], opset=17)
    for name, array in (
        ("weight", np.ones((4, 3, 1, 1), np.int8)),
        ("zero.in", np.uint8(128)),
        ("zero.out", zero),
    ):
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT
    return model


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"input_pair": False}, "its input is not quantized"),
        ({"end": "nothing"}, "returned or read by several"),
        ({"between": ("HardSwish",)}, "HardSwish reads its result before it is quantized"),
        ({"zero": np.uint8(128)}, "Relu is not implied by zero point 128 of uint8"),
        ({"zero": np.int8(0)}, "Relu is not implied by zero point 0 of int8"),
        ({"zero": np.int8(-128)}, "activations are int8"),
    ],
)
def test_what_keeps_a_quantized_layer_out_of_integers_is_said(options, words):
    (layer,) = layers_of(quantized(**options)).layers
    assert layer.quantized
    assert words in layer.obstacle


def test_a_layer_in_the_right_form_has_no_obstacle():
    (layer,) = layers_of(quantized()).layers
    assert (layer.quantized, layer.obstacle) == (True, None)
