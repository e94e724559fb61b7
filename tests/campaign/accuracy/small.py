"""A space of small networks for pictures of 8 x 8, and a few digits to train them on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

RECIPE = """
description = "Small networks for digits of 8 x 8."
resolution = 8
[stem]
channels = [8, 16]
stride = 1
bits = "W8A8"
[stages]
strides = [2, 1]
channels = { min = 8, max = 64 }
kernels = [3, 5]
ratios = [1.0, 2.0, 3.0]
depths = [1, 2]
bits = ["W3A3", "W4A4", "W5A5", "W3A6", "W6A3"]
[head]
channels = 32
bits = ["W4A4", "W6A6"]
[classifier]
classes = 10
[score]
sigma_activation = 5.0
sigma_weight = 4.0
stage_ratios = [1.0, 6.0]
"""


def write_recipe(folder: Path) -> Path:
    """Write the recipe into `folder`; returns its path."""
    path = folder / "small.toml"
    path.write_text(RECIPE)
    return path


def write_digits(path: Path, *, test: bool = True) -> Path:
    """Write 300 digits to train on and, with `test`, 150 to test on."""
    digits = load_digits()
    images = np.rint(digits.images / 16 * 255).astype(np.uint8)
    arrays = {"x_train": images[:300], "y_train": digits.target[:300]}
    if test:
        arrays |= {"x_test": images[300:450], "y_test": digits.target[300:450]}
    np.savez(path, **arrays)
    return path
