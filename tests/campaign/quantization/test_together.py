"""Errors of layers among others."""

from __future__ import annotations

import numpy as np
import pytest

from qedeploy.campaign.quantization.measurement import SetMeasurement
from qedeploy.campaign.quantization.together import fit_errors

ALONE = {(f"layer{number}", "W8A8"): error for number, error in enumerate((1e-3, 2e-3, 5e-4, 4e-3, 1e-3, 3e-3))}


def measured(names, error):
    return SetMeasurement(precisions=dict.fromkeys(names, "W8A8"), seconds=0.0, error=error)


def test_without_sets_errors_are_those_alone():
    assert fit_errors(ALONE, []) == pytest.approx(ALONE)


def test_sets_that_say_more_of_some_layers_correct_those():
    true = {key: error * factor for (key, error), factor in zip(ALONE.items(), (1, 9, 1, 0.2, 1, 1), strict=True)}
    generator = np.random.default_rng(0)
    sets = []
    for _ in range(12):
        names = [key[0] for key in ALONE if generator.random() < 0.5] or ["layer0"]
        sets.append(measured(names, sum(true[name, "W8A8"] for name in names)))
    fitted = fit_errors(ALONE, sets)
    for item in sets:
        assert sum(fitted[key] for key in item.precisions.items()) == pytest.approx(item.error, rel=0.15)
    assert fitted["layer1", "W8A8"] > 4 * ALONE["layer1", "W8A8"]
    assert fitted["layer3", "W8A8"] < ALONE["layer3", "W8A8"] / 2


def test_what_no_set_has_stays():
    fitted = fit_errors(ALONE, [measured(["layer0"], 1e-2)])
    assert fitted["layer0", "W8A8"] == pytest.approx(1e-2, rel=1e-3)
    assert fitted["layer5", "W8A8"] == ALONE["layer5", "W8A8"]


def test_a_set_without_any_error_changes_nothing():
    assert fit_errors(ALONE, [measured(["layer0", "layer1"], 0.0)]) == pytest.approx(ALONE)
