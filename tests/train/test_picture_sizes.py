"""Pictures far smaller than a network takes them are named before a training, with the size that fits."""

from __future__ import annotations

import numpy as np
import pytest

from qedeploy.train.data import open_data
from qedeploy.train.picture_sizes import enlarged


@pytest.fixture
def pictures(tmp_path):
    np.savez(tmp_path / "d.npz", images=np.zeros((6, 20, 24, 3), np.uint8), labels=np.arange(6) % 2)
    return open_data(tmp_path / "d.npz").train


def test_the_larger_side_of_pictures_counts(pictures):
    said = enlarged(pictures, 240)
    assert "at most 24 pixels" in said
    assert "--resolution 24" in said
    assert "100th of the work" in said


@pytest.mark.parametrize("resolution", [16, 24, 47])
def test_pictures_about_as_large_as_the_network_takes_them_are_no_news(pictures, resolution):
    assert enlarged(pictures, resolution) == ""
