"""Grids of values and weights, and values read from others' integers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qedeploy.export.onnx_networks.editor import GraphEditor
from qedeploy.export.onnx_networks.grids import LEVELS, ValueGrid, weight_scales
from qedeploy.export.onnx_networks.regridding import regrid
from tests.export.onnx_networks.networks import Maker

ENDS = st.floats(-100, 100, width=32)


@given(ENDS, ENDS)
def test_a_grid_covers_its_range_and_zero_to_half_a_step(first, second):
    low, high = sorted((first, second))
    grid = ValueGrid.covering(low, high)
    assert 0 <= grid.zero_point <= LEVELS
    if high - low > 1e-6:
        assert grid.low <= low + grid.scale / 2 + 1e-6
        assert grid.high >= high - grid.scale / 2 - 1e-6
    if low >= 0:
        assert grid.zero_point == 0


def test_a_value_that_is_zero_or_not_finite_has_a_grid_all_the_same():
    assert ValueGrid.covering(0.0, 0.0) == ValueGrid(scale=1.0, zero_point=0)
    assert ValueGrid.covering(0.0, float("inf")) == ValueGrid(scale=1.0, zero_point=0)


@given(ENDS, ENDS, st.floats(-20, 20, width=32).filter(lambda value: abs(value) > 1e-3))
def test_a_grid_through_a_point_has_it_exactly_and_is_no_finer_than_it_must_be(first, second, point):
    low, high = sorted((first, second))
    plain = ValueGrid.covering(min(low, point), max(high, point))
    grid = ValueGrid.through(low, high, point)
    assert plain.scale * 0.999 <= grid.scale <= plain.scale * 2.001
    if abs(point) >= plain.scale * 1.001:
        steps = point / grid.scale
        assert steps == pytest.approx(round(steps), abs=1e-3)
        assert 0 <= round(steps) + grid.zero_point <= LEVELS
    assert grid.high >= high - grid.scale
    assert grid.low <= low + grid.scale


def test_the_largest_weight_of_each_channel_takes_the_limit():
    weight = np.random.default_rng(0).normal(size=(5, 3, 2, 2)).astype(np.float32)
    weight[2] = 0
    scales = weight_scales(weight, 0, 63)
    integers = np.rint(weight / scales[:, None, None, None])
    assert np.abs(integers).max(axis=(1, 2, 3)).tolist() == [63, 63, 0, 63, 63]
    assert weight_scales(weight.reshape(5, 12).T.copy(), 1, 63).tolist() == scales.tolist()


@pytest.mark.parametrize(("alpha", "beta"), [(1 / 6, 0.5), (0.2, 0.5)])
@pytest.mark.parametrize(("low", "high"), [(-8.0, 9.0), (-1.0, 4.0), (-3.5, 2.0), (-40.0, 60.0)])
def test_a_hard_sigmoid_is_its_inputs_integers_clipped_on_another_grid(alpha, beta, low, high):
    make = Maker()
    make.node("HardSigmoid", ["x"], "gate", alpha=alpha, beta=beta)
    editor = GraphEditor(make.model({"x": [1, 4, 2, 2]}, ["gate"], opset=17))
    grids, readings = regrid(editor, {"x": ValueGrid.covering(low, high)})
    reading, grid = readings["gate"], grids["x"]
    assert reading.bounds is not None
    integers = np.arange(LEVELS + 1)
    values = (integers - grid.zero_point) * grid.scale
    expected = np.clip(alpha * values + beta, 0, 1)
    read = (np.clip(integers, *reading.bounds) - reading.grid.zero_point) * reading.grid.scale
    np.testing.assert_allclose(read, expected, atol=1e-5)


@pytest.mark.parametrize(("scale", "shift"), [(0.8, 0.3), (1.7, -0.6), (0.5, 0.0)])
def test_a_scale_and_shift_of_all_channels_is_its_inputs_integers_on_another_grid(scale, shift):
    make = Maker()
    arrays = {"s": scale, "b": shift, "m": 0.0, "v": 1.0}
    names = [make.constant(name, np.full(4, number)) for name, number in arrays.items()]
    make.node("BatchNormalization", ["x", *names], "y", epsilon=0.0)
    editor = GraphEditor(make.model({"x": [1, 4, 2, 2]}, ["y"], opset=17))
    grids, readings = regrid(editor, {"x": ValueGrid.covering(-0.4, 5.0)})
    integers = np.arange(LEVELS + 1)
    values = (integers - grids["x"].zero_point) * grids["x"].scale
    read = (integers - readings["y"].grid.zero_point) * readings["y"].grid.scale
    np.testing.assert_allclose(read, scale * values + shift, atol=1e-5)
    assert readings["y"].bounds is None


def test_scales_that_differ_between_channels_are_no_reading():
    make = Maker()
    names = [make.constant(name, array) for name, array in
             {"s": [1.0, 2.0], "b": [0.1, 0.1], "m": [0.0, 0.0], "v": [1.0, 1.0]}.items()]  # fmt: skip
    make.node("BatchNormalization", ["x", *names], "y")
    editor = GraphEditor(make.model({"x": [1, 2, 2, 2]}, ["y"], opset=17))
    assert regrid(editor, {"x": ValueGrid.covering(-1.0, 1.0)})[1] == {}
