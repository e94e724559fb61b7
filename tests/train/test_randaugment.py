"""RandAugment's operations, by what each must do to any picture."""

from __future__ import annotations

import numpy as np
import pytest

from qedeploy.train.randaugment import rand_augment

NAMES = (
    "identity", "autocontrast", "equalize", "rotate", "solarize", "posterize", "shear x", "shear y", "translate x",
    "translate y", "colour", "contrast", "brightness", "sharpness",
)  # fmt: skip


@pytest.fixture
def picture():
    """A picture of three channels, brightest away from its middle, none of it at either end of the range.

    It has an edge: sharpening leaves what rises evenly as it is.
    """
    rows, columns = np.mgrid[0:24, 0:24]
    edge = 20 * (columns >= 12)
    planes = [60 + 4 * rows + columns + edge, 150 - 3 * columns + rows + edge, 90 + 2 * rows + edge]
    return np.stack(planes, axis=2).astype(np.uint8)


def changed(pixels, name: str, magnitude: float, sign: float = 0.0):
    return rand_augment(pixels, 1, magnitude, np.array([(NAMES.index(name) + 0.5) / len(NAMES), sign, 0.0]))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_every_operation_keeps_shape_and_type(picture, name, channels):
    found = changed(picture[:, :, :channels], name, 7)
    assert (found.shape, found.dtype) == ((24, 24, channels), np.uint8)
    assert np.array_equal(found, changed(picture[:, :, :channels], name, 7)), "the draws alone decide"
    assert np.array_equal(found, picture[:, :, :channels]) == (
        name == "identity" or (name == "colour" and channels == 1)
    )


@pytest.mark.parametrize(
    "name", ["rotate", "shear x", "shear y", "translate x", "translate y", "brightness", "contrast"]
)
def test_without_strength_nothing_changes_and_more_changes_more(picture, name):
    assert np.array_equal(changed(picture, name, 0), picture)
    gaps = [np.abs(changed(picture, name, strength).astype(int) - picture).mean() for strength in (3, 9)]
    assert 0 < gaps[0] < gaps[1]


@pytest.mark.parametrize("name", ["rotate", "shear x", "translate x"])
def test_the_sign_is_the_mirrored_direction(picture, name):
    mirrored = changed(picture[:, ::-1], name, 6, sign=0.9)[:, ::-1]
    ours = changed(picture, name, 6, sign=0.1)
    # Of a pixel that lies between two, one way takes the left one and the other the right one.
    assert np.abs(ours.astype(int) - mirrored)[4:-4, 4:-4].max() <= 16
    assert np.abs(ours.astype(int) - changed(picture, name, 6, sign=0.9)).max() > 16


def test_point_operations_at_full_strength_are_their_formulas(picture):
    assert np.array_equal(changed(picture, "solarize", 10), 255 - picture)
    assert np.array_equal(changed(picture, "posterize", 10), picture & 0xF0)
    brighter = np.minimum(255, 1.9 * picture)
    assert np.abs(changed(picture, "brightness", 10, sign=0.1) - brighter).max() <= 1
    gray = changed(picture, "colour", 10, sign=0.9)
    assert np.ptp(gray.astype(int), axis=2).max() < np.ptp(picture.astype(int), axis=2).max() / 5


def test_autocontrast_and_equalize_use_the_whole_range(picture):
    for name in ("autocontrast", "equalize"):
        found = changed(picture, name, 5)
        assert (found.min(axis=(0, 1)) == 0).all()
        assert (found.max(axis=(0, 1)) >= 254).all(), "Pillow rounds down"


def test_two_operations_are_one_after_the_other(picture):
    draws = np.array([(NAMES.index(name) + 0.5) / len(NAMES) for name in ("solarize", "posterize")])
    rows = np.stack([draws, np.zeros(2), np.zeros(2)], axis=1).ravel()
    assert np.array_equal(rand_augment(picture, 2, 10, rows), (255 - picture) & 0xF0)
