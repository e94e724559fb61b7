"""Inputs of a timed model are random, never zero, and alike for a seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qedeploy.runtimes.inputs import random_values

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
