"""The error of outputs as one number."""

from __future__ import annotations

import numpy as np
import pytest

from qedeploy.errors import RequestError
from qedeploy.export.onnx_networks.output_error import fit_measures, require_live, total_error

GENERATOR = np.random.default_rng(0)


def test_white_noise_of_a_tenth_of_the_amplitude_is_a_hundredth_of_the_power():
    outputs = [[GENERATOR.normal(size=(1, 8, 50, 50))] for _ in range(3)]
    measures = fit_measures(["y"], outputs)
    noisy = [outputs[0][0] + 0.1 * GENERATOR.normal(size=outputs[0][0].shape)]
    assert total_error(measures, ["y"], outputs[0], noisy) == pytest.approx(0.01, rel=0.05)


def test_scores_beside_coordinates_count_as_much():
    scale = np.asarray([300.0, 300.0, 300.0, 300.0, 0.2])[None, :, None]
    outputs = [[GENERATOR.normal(size=(1, 5, 400)) * scale] for _ in range(3)]
    measures = fit_measures(["y"], outputs)
    spoiled = outputs[0][0].copy()
    spoiled[:, 4] = 0.0
    # All scores are gone, which as power of the whole output would be under a millionth.
    assert total_error(measures, ["y"], outputs[0], [spoiled]) > 0.15


def test_probabilities_count_their_divergence():
    logits = GENERATOR.normal(size=(1, 6, 10))
    first, second = (np.exp(z) / np.exp(z).sum(-1, keepdims=True) for z in (logits, logits * 1.1))
    measures = fit_measures(["p"], [[first]])
    expected = (first * np.log(first / second)).sum(-1).mean()
    assert total_error(measures, ["p"], [first], [second]) == pytest.approx(expected)
    assert total_error(measures, ["p"], [first], [first]) == 0


def test_the_worst_output_counts():
    outputs = [[GENERATOR.normal(size=(1, 30)), GENERATOR.normal(size=(1, 30)), np.asarray([3])]]
    measures = fit_measures(["a", "b", "indices"], outputs)
    assert [measure.name for measure in measures] == ["a", "b"]
    found = [outputs[0][0], np.zeros((1, 30)), np.asarray([4])]
    assert total_error(measures, ["a", "b", "indices"], outputs[0], found) > 0.8


def test_no_floating_point_output_is_refused():
    with pytest.raises(RequestError, match="no floating-point output"):
        fit_measures(["y"], [[np.asarray([1, 2])]])


def test_an_output_that_has_become_constant_is_named_with_its_channel():
    floats = [[GENERATOR.normal(size=(1, 3, 20, 20))] for _ in range(2)]
    dead = [[output[0].copy()] for output in floats]
    for output in dead:
        output[0][:, 1] = 0.25
    with pytest.raises(RequestError, match="'y', channel 1"):
        require_live(["y"], floats, dead)
    require_live(["y"], floats, floats)


def test_a_channel_that_is_constant_in_float_too_is_none_of_quantizations_doing():
    floats = [[np.concatenate([GENERATOR.normal(size=(1, 1, 9, 9)), np.ones((1, 1, 9, 9))], axis=1)] for _ in range(2)]
    require_live(["y"], floats, floats)
