"""Ranges from data."""

from __future__ import annotations

import numpy as np
import pytest

from qedeploy.errors import RequestError
from qedeploy.export.onnx_networks.calibration import choose_grid, observe
from qedeploy.export.onnx_networks.grids import ValueGrid
from qedeploy.export.onnx_networks.methods import CalibrationMethod
from tests.export.onnx_networks.networks import Maker


def seen_of(*arrays: np.ndarray):
    make = Maker()
    make.node("Mul", ["x", make.constant("two", 2.0)], "y")
    model = make.model({"x": list(arrays[0].shape)}, ["y"], opset=17)
    return observe(model, ["x", "y"], [{"x": array.astype(np.float32)} for array in arrays])


def test_extremes_are_those_of_all_the_data():
    seen = seen_of(np.asarray([[0.0, 1.0]]), np.asarray([[-3.0, 0.5]]))
    assert (seen["x"].low, seen["x"].high) == (-3.0, 1.0)
    assert (seen["y"].low, seen["y"].high) == (-6.0, 2.0)
    assert seen["y"].counts.sum() == 4
    assert choose_grid(seen["y"], CalibrationMethod.MIN_MAX) == ValueGrid.covering(-6.0, 2.0)


def test_a_stray_value_is_cut_off_by_percentile_but_not_by_extremes():
    values = np.random.default_rng(0).normal(size=(1, 40_000))
    values[0, 7] = 80.0
    seen = seen_of(values)["x"]
    widths = {method: choose_grid(seen, method).scale * 255 for method in CalibrationMethod}
    assert widths[CalibrationMethod.MIN_MAX] > 80
    assert widths[CalibrationMethod.PERCENTILE] < 10


def test_the_least_error_is_less_than_that_of_the_extremes():
    values = np.random.default_rng(1).standard_t(3, size=(1, 40_000)).astype(np.float32)
    seen = seen_of(values)["x"]
    errors = {
        method: np.square(choose_grid(seen, method).rounded(values) - values).mean() for method in CalibrationMethod
    }
    assert errors[CalibrationMethod.MSE] <= min(errors.values()) * 1.02
    assert errors[CalibrationMethod.MSE] < errors[CalibrationMethod.MIN_MAX] * 0.95


def test_a_ceiling_bounds_the_range():
    seen = seen_of(np.asarray([[0.0, 9.0]]))["x"]
    assert choose_grid(seen, CalibrationMethod.MIN_MAX, 6.0).high == pytest.approx(6.0, rel=1e-6)


def test_a_constant_value_has_a_grid():
    assert choose_grid(seen_of(np.zeros((1, 4)))["x"], CalibrationMethod.MSE).zero_point == 0


def test_what_is_not_finite_is_named():
    with pytest.raises(RequestError, match="'y' is not finite"):
        seen_of(np.asarray([[3e38]]))
