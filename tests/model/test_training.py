"""The network learns: handwritten digits at four bits, with the loop that the README shows."""

from __future__ import annotations

import pytest
import torch
from sklearn.datasets import load_digits

from qedeploy.model.build import build
from qedeploy.model.checkpoint import load_checkpoint, save_checkpoint
from qedeploy.model.network import quantizers
from qedeploy.network.structure import Activation, Bits
from tests.model.structures import tiny_structure


@pytest.fixture(scope="module")
def digits() -> tuple[torch.Tensor, torch.Tensor]:
    data = load_digits()
    images = torch.tensor(data.images, dtype=torch.float32)[:, None].expand(-1, 3, -1, -1) / 8 - 1
    return torch.nn.functional.interpolate(images, size=16), torch.tensor(data.target)


@pytest.mark.parametrize(
    ("bits", "mobile"),
    [
        (Bits(weight=4, activation=4), False),
        (Bits(weight=2, activation=3), False),
        (Bits(weight=4, activation=16), True),
    ],
)
def test_digits_are_learned_and_survive_the_file(tmp_path, digits, bits, mobile):
    images, labels = digits
    activation = Activation.RELU6 if mobile else Activation.RELU
    structure = tiny_structure(bits, activation=activation, linear=mobile, expand=not mobile)
    path = save_checkpoint(tmp_path / "model.pth", build(structure, seed=0), profile="any-bits", recipe={})

    checkpoint = load_checkpoint(path)
    network = checkpoint.network.train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    training, held_out = order[:1400], order[1400:]
    for _ in range(5):
        for batch in training.split(50):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(images[batch]), labels[batch]).backward()
            optimizer.step()
    checkpoint.save(tmp_path / "trained.pth")

    network.eval()
    trained = load_checkpoint(tmp_path / "trained.pth").network
    logits = network(images[held_out])
    torch.testing.assert_close(trained(images[held_out]), logits, rtol=0, atol=0)
    assert (logits.argmax(dim=1) == labels[held_out]).float().mean() > 0.5, "chance is 0.1"
    assert all(bool((quantizer.step > 0).all()) for _, quantizer in quantizers(trained))
    assert all(bool(quantizer.initialized) for _, quantizer in quantizers(trained))


def test_steps_stay_positive_and_finite_under_a_reckless_learning_rate(digits):
    images, labels = digits
    network = build(tiny_structure(), seed=0)
    steps = [quantizer.step for _, quantizer in quantizers(network)]
    optimizer = torch.optim.SGD([{"params": steps, "lr": 5.0}])
    for batch in torch.arange(600).split(30):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(images[batch]), labels[batch]).backward()
        optimizer.step()
    network(images[:10])
    assert all(bool((step > 0).all() and step.isfinite().all()) for step in steps)


def test_every_parameter_gets_a_gradient_that_is_not_zero(digits):
    images, labels = digits
    network = build(tiny_structure(), seed=0)
    for _ in range(2):
        network.zero_grad()
        torch.nn.functional.cross_entropy(network(images[:64]), labels[:64]).backward()
    silent = [name for name, parameter in network.named_parameters() if not bool(parameter.grad.any())]
    assert silent == []


def test_training_twice_with_one_seed_gives_the_same_weights(digits):
    images, labels = digits

    def train() -> dict[str, torch.Tensor]:
        network = build(tiny_structure(), seed=7)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
        for batch in torch.arange(200).split(50):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(images[batch]), labels[batch]).backward()
            optimizer.step()
        return network.state_dict()

    first, second = train(), train()
    assert all(torch.equal(first[key], second[key]) for key in first)
