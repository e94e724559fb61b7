"""Equalised weights and corrected biases are used where they lower the error of the outputs, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from qedeploy.campaign.quantization.improvement import BOTH, CORRECTED, EQUALISED, PLAIN, improved_quantizer
from qedeploy.export.onnx_networks.methods import CalibrationMethod
from qedeploy.export.onnx_networks.output_error import fit_measures, total_error
from qedeploy.export.onnx_networks.preparation import prepare
from qedeploy.runtimes.registry import reference
from tests.export.onnx_networks.networks import mobile_network, write
from tests.export.onnx_networks.test_equalisation import uneven


def test_the_form_with_the_least_error_is_chosen_and_its_files_have_it(tmp_path):
    model, feeds = uneven(tmp_path, spread=4.0, group=8)
    seen = []
    quantizer, found = improved_quantizer(
        model, feeds, CalibrationMethod.MSE, ["W8A8"], lambda done, total: seen.append((done, total))
    )
    assert found.errors.keys() == {PLAIN, CORRECTED, EQUALISED, BOTH}
    assert found.chosen == min(found.errors, key=lambda form: found.errors[form]) != PLAIN
    assert found.pairs
    assert f"{found.errors[found.chosen] / found.errors[PLAIN]:.2f}x" in found.words
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1]
    expected, made = (
        [[reference().evaluator(item.SerializeToString(), True)(feed)["third"]] for feed in feeds]
        for item in (model, quantizer.write(dict.fromkeys(quantizer.layers, "W8A8")).model)
    )
    measures = fit_measures(["third"], expected)
    whole = np.mean([total_error(measures, ["third"], *both) for both in zip(expected, made, strict=True)])
    assert whole < 3 * found.errors[PLAIN]


@pytest.mark.parametrize("precisions", [(), ("float32",)])
def test_without_a_precision_of_integers_there_is_nothing_to_improve(tmp_path, precisions):
    prepared = prepare(write(mobile_network(sizes=[1, 3, 32, 48]), tmp_path), None)
    feeds = [{"image": np.random.default_rng(0).normal(size=(1, 3, 32, 48)).astype(np.float32)}]
    assert improved_quantizer(prepared.model, feeds, CalibrationMethod.MSE, precisions, lambda *_: None)[1] is None
