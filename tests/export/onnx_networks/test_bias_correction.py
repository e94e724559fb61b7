"""What rounding moves the means of a layer by is what its bias takes back."""

from __future__ import annotations

import numpy as np
import pytest

from qedeploy.export.onnx_networks.preparation import prepare
from qedeploy.export.onnx_networks.quantizer import make_quantizer
from qedeploy.runtimes.registry import reference
from tests.export.onnx_networks.networks import Maker, write


def network(tmp_path, kind):
    make = Maker(seed=4)
    if kind == "Gemm":
        make.node("Flatten", ["image"], "flat")
        names = [make.constant("w", make.generator.normal(size=(192, 6))), make.constant("b", np.ones(6))]
        make.node("Gemm", ["flat", *names], "made")
    elif kind == "grouped":
        make.conv("image", "made", (8, 2, 1, 1), pads=[0] * 4, group=2)
    else:
        make.conv("image", "made", (8, 3, 3, 3), pads=[0] * 4, bias=kind == "biased")
    channels = 4 if kind == "grouped" else 3
    model = prepare(write(make.model({"image": [1, channels, 8, 8]}, ["made"]), tmp_path), None).model
    draw = np.random.default_rng(1)
    feeds = [{"image": np.abs(draw.normal(size=(1, channels, 8, 8))).astype(np.float32)} for _ in range(8)]
    return model, feeds


@pytest.mark.parametrize("kind", ["biased", "without bias", "grouped", "Gemm"])
@pytest.mark.parametrize("precision", ["W8A8", "W7A8"])
def test_results_of_a_corrected_layer_are_right_in_the_mean(tmp_path, kind, precision):
    model, feeds = network(tmp_path, kind)
    plain = make_quantizer(model, feeds)
    (name,) = plain.layers
    assert plain.with_corrected_biases(feeds, [precision]).moved[name, precision].shape == (
        plain.layers[name].channels,
    )
    exact = reference().evaluator(model.SerializeToString(), False)

    def off(quantizer):
        """Return the mean difference of each channel from the float network."""
        rounded = reference().evaluator(quantizer.write({name: precision}).model.SerializeToString(), False)
        differences = np.concatenate([rounded(feed)["made"] - exact(feed)["made"] for feed in feeds])
        return differences.mean(axis=tuple(axis for axis in range(differences.ndim) if axis != 1))

    before, after = off(plain), off(plain.with_corrected_biases(feeds, [precision]))
    # What is left comes from the grid of the results, and from the edges where there is padding.
    assert np.abs(after).mean() < 0.7 * np.abs(before).mean()


def test_a_matrix_product_without_bias_stays_as_it_is(tmp_path):
    make = Maker()
    make.node("Flatten", ["image"], "flat")
    make.node("MatMul", ["flat", make.constant("w", make.generator.normal(size=(12, 4)))], "made")
    model = prepare(write(make.model({"image": [1, 3, 2, 2]}, ["made"]), tmp_path), None).model
    feeds = [{"image": np.ones((1, 3, 2, 2), np.float32)}]
    quantizer = make_quantizer(model, feeds)
    corrected = quantizer.with_corrected_biases(feeds, ["W8A8"])
    assert corrected.moved == {}
    assert (
        corrected.write({next(iter(quantizer.layers)): "W8A8"}).model
        == quantizer.write({next(iter(quantizer.layers)): "W8A8"}).model
    )
