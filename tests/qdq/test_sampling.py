"""Places that stand for all values, whatever the widths of the pictures they lie in."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from qedeploy.qdq.calibration import Wanted, best_step
from qedeploy.qdq.sampling import spread_places


@pytest.mark.parametrize("count", [1, 2, 49_999, 50_000])
def test_few_values_are_all_looked_at(count):
    assert np.array_equal(spread_places(count, 50_000), np.arange(count))


@pytest.mark.parametrize("width", [4, 7, 8, 14, 16, 28, 32, 56, 112, 224])
@pytest.mark.parametrize("length", [2, 8, 21, 32, 56, 112, 224, 448])
def test_every_column_of_pictures_is_looked_at_alike_often(width, length):
    count = 20_000 * length
    places = spread_places(count, 20_000)
    assert len(places) == 20_000
    assert np.array_equal(places // length, np.arange(20_000)), "one in each stretch, in order"
    seen = np.bincount(places % width, minlength=width)
    assert seen.min() > 0.8 * seen.mean()
    assert spread_places(count + 1, 20_000).max() <= count


def test_a_step_is_right_for_pictures_with_an_empty_column():
    """24 channels of 16 x 16 in 256 pictures: every 32nd value lies in the first column."""
    values = torch.randn(256, 24, 16, 16, generator=torch.Generator().manual_seed(0)).relu_()
    values[:, :, :, 0] *= 0.01
    step = best_step(values, Wanted(bits=8, signed=False, nonnegative=True))
    rounded = (values / step).round().clamp(0, 255) * step
    covering = values.max() / 255
    error, limit = ((one - values).square().mean() for one in (rounded, (values / covering).round() * covering))
    assert error <= limit
