"""Digits of scikit-learn, and a network of ours that has learned them in 8 bits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from qedeploy.model.build import build
from qedeploy.model.checkpoint import save_checkpoint
from qedeploy.network.structure import Bits
from qedeploy.train.recipe import load_recipe, with_changes
from qedeploy.train.training import TrainOptions, train
from tests.model.structures import tiny_structure


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """1,400 digits to train on and 397 to test on, 8 x 8 pixels of gray."""
    data = load_digits()
    images = np.rint(data.images / 16 * 255).astype(np.uint8)
    order = np.random.default_rng(0).permutation(len(images))
    train_places, test_places = order[:1400], order[1400:]
    path = tmp_path_factory.mktemp("digits") / "digits.npz"
    np.savez(
        path,
        x_train=images[train_places],
        y_train=data.target[train_places],
        x_test=images[test_places],
        y_test=data.target[test_places],
    )
    return path


@pytest.fixture(scope="session")
def trained(tmp_path_factory, digits):
    folder = tmp_path_factory.mktemp("trained")
    network = build(tiny_structure(Bits(weight=8, activation=8)), unsigned_activation_bits=8, seed=0)
    path = save_checkpoint(folder / "untrained.pth", network, profile="cpu-int8", recipe={"name": "tiny"})
    recipe = with_changes(
        load_recipe("quick"), {"float_epochs": 8, "epochs": 1, "batch": 64, "flip": 0.0, "crop_padding": 1}
    )
    return train(path, digits, TrainOptions(recipe=recipe), folder).model
