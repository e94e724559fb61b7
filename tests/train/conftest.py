"""Digits of scikit-learn, one thread, and small networks to train on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def digits(tmp_path_factory) -> Path:
    """1,400 digits to train on and 397 to test on, 8 x 8 pixels of gray."""
    data = load_digits()
    images = np.rint(data.images / 16 * 255).astype(np.uint8)
    order = np.random.default_rng(0).permutation(len(images))
    train, test = order[:1400], order[1400:]
    path = tmp_path_factory.mktemp("digits") / "digits.npz"
    np.savez(path, x_train=images[train], y_train=data.target[train], x_test=images[test], y_test=data.target[test])
    return path


@pytest.fixture(scope="session")
def few_digits(tmp_path_factory, digits) -> Path:
    """200 of the digits, for what takes steps but no accuracy."""
    path = tmp_path_factory.mktemp("few") / "few.npz"
    with np.load(digits) as archive:
        np.savez(path, images=archive["x_train"][:200], labels=archive["y_train"][:200])
    return path
