"""Weights rescaled between convolutions: the same numbers, bit for bit, and channels that fill one grid alike."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import numpy_helper

from qedeploy.export.onnx_networks.equalisation import equalise
from qedeploy.export.onnx_networks.preparation import prepare
from qedeploy.export.onnx_networks.quantizer import make_quantizer
from qedeploy.runtimes.registry import reference
from tests.export.onnx_networks.networks import Maker, write


def uneven(tmp_path, activation="Relu", second=(8, 1, 3, 3), spread=2.0, **attributes):
    """Return a prepared network whose channels between its first two convolutions differ widely, and feeds."""
    make = Maker()
    make.conv("image", "first", (8, 3, 1, 1), pads=[0] * 4)
    make.weights["first.w"] *= np.exp2(make.generator.uniform(-spread, spread, 8)).reshape(-1, 1, 1, 1)
    between = make.node(activation, ["first"], "between") if activation else "first"
    make.conv(between, "second", second, **attributes)
    make.node("Relu", ["second"], "second.relu")
    make.conv("second.relu", "third", (4, second[0], 1, 1), pads=[0] * 4)
    model = make.model({"image": [1, 3, 8, 8]}, ["third"])
    feeds = [{"image": np.random.default_rng(seed).normal(size=(1, 3, 8, 8)).astype(np.float32)} for seed in range(3)]
    return prepare(write(model, tmp_path), None).model, feeds


def outputs(model, feeds, precise=False):
    evaluate = reference().evaluator(model.SerializeToString(), precise)
    return [evaluate(feed)["third"] for feed in feeds]


@pytest.mark.parametrize("activation", ["Relu", None])
@pytest.mark.parametrize(("second", "attributes"), [((8, 1, 3, 3), {"group": 8}), ((6, 8, 3, 3), {})])
def test_the_float_network_computes_the_same_numbers(tmp_path, activation, second, attributes):
    model, feeds = uneven(tmp_path, activation, second, **attributes)
    found = equalise(model, feeds)
    assert len(found.pairs) == 2
    for first, other in zip(outputs(model, feeds), outputs(found.model, feeds), strict=True):
        np.testing.assert_array_equal(first, other)
    changed = [
        before.name
        for before, after in zip(model.graph.initializer, found.model.graph.initializer, strict=True)
        if (numpy_helper.to_array(before) != numpy_helper.to_array(after)).any()
    ]
    assert len(changed) >= 4


@pytest.mark.parametrize(
    ("activation", "second", "attributes"),
    [("HardSwish", (8, 1, 3, 3), {"group": 8}), ("Relu", (8, 2, 3, 3), {"group": 4})],
)
def test_what_does_not_scale_with_its_channels_is_left_alone(tmp_path, activation, second, attributes):
    if activation == "HardSwish":
        make = Maker()
        make.conv("image", "first", (8, 3, 1, 1), pads=[0] * 4)
        make.hard_swish("first", "between")
        make.conv("between", "third", second, **attributes)
        model = prepare(write(make.model({"image": [1, 3, 8, 8]}, ["third"]), tmp_path), None).model
        feeds = [{"image": np.ones((1, 3, 8, 8), np.float32)}]
        assert equalise(model, feeds).pairs == ()
        return
    model, feeds = uneven(tmp_path, activation, second, **attributes)
    # Only what follows the grouped convolution.
    assert len(equalise(model, feeds).pairs) == 1


def test_a_depthwise_convolution_behind_uneven_channels_errs_less(tmp_path):
    model, feeds = uneven(tmp_path, spread=4.0, group=8)
    expected = outputs(model, feeds)

    def error(network):
        quantizer = make_quantizer(network, feeds)
        found = outputs(quantizer.write(dict.fromkeys(quantizer.layers, "W8A8")).model, feeds, precise=True)
        return sum(float(((one - other) ** 2).sum()) for one, other in zip(expected, found, strict=True))

    assert error(equalise(model, feeds).model) < 0.7 * error(model)
