"""Inputs of a timed model are random, never zero, and alike for a seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qedeploy.errors import UserError
from qedeploy.runtimes.inputs import chosen_shape, parse_shapes, random_values, require_shapes

TYPES = (
    "float16",
    "float32",
    "float64",
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "bool",
)


@given(st.sampled_from(TYPES), st.lists(st.integers(1, 5), max_size=4), st.integers(0, 3))
def test_inputs_are_random_and_never_zero(dtype, shape, seed):
    values = random_values(tuple(shape), dtype, np.random.default_rng(seed))
    assert values.shape == tuple(shape)
    assert values.dtype == np.dtype(dtype)
    assert np.all(values != 0)
    assert np.array_equal(values, random_values(tuple(shape), dtype, np.random.default_rng(seed)))


@pytest.mark.parametrize(("dtype", "low", "high"), [("float32", -2, 2), ("int8", 1, 100), ("uint64", 1, 100)])
def test_values_span_their_range(dtype, low, high):
    values = random_values((10_000,), dtype, np.random.default_rng(0))
    assert low <= values.min() < low + 1.1
    assert high - 1.1 < values.max() <= high


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "=1x3",
        "x=",
        "x=1x-3",
        "x=1xthree",
        "x=0x3",
        "x=1x3x",
        "x=99999999999999999999",
        "x=9999x9999x9999",
        "x=1e3",
    ],
)
def test_shapes_that_are_none_are_named(text):
    with pytest.raises(UserError, match=r"--shape .*expected an input"):
        parse_shapes([text])


def test_shapes_are_taken_by_the_names_of_inputs():
    assert parse_shapes(["image=1x3x64x64", "a=b=2"]) == {"image": (1, 3, 64, 64), "a=b": (2,)}
    path = Path("m.onnx")
    assert chosen_shape(path, "image", (None, 3, None, None), {"image": (1, 3, 8, 8)}) == (1, 3, 8, 8)
    assert chosen_shape(path, "image", (None, 3), {}) == (None, 3)
    with pytest.raises(UserError, match="expected a --shape that fits it"):
        chosen_shape(path, "image", (None, 3), {"image": (1, 4)})
    with pytest.raises(UserError, match="has no input 'x', expected one of image"):
        require_shapes(path, ["image"], ["x"])
