"""What widths cost by the Fisher information, against what rounding one layer by hand really does to the answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau
from torch.nn import functional

from qedeploy.model.build import build
from qedeploy.model.network import layer_modules
from qedeploy.network.structure import Bits
from qedeploy.train.quantization import best_weight_steps, estimate_statistics, quantization_bypassed
from qedeploy.train.sensitivity import Side, width_errors
from tests.model.structures import tiny_structure

WIDTHS = (2, 3, 4, 6, 8)


@pytest.fixture(scope="module")
def network():
    torch.set_num_threads(1)
    made = build(tiny_structure(Bits(weight=8, activation=8)), seed=1).eval()
    images = torch.from_numpy(np.random.default_rng(0).normal(size=(64, *made.structure.image_sizes))).float()
    with quantization_bypassed(made), torch.no_grad():
        estimate_statistics(made, [images])
    return made, images


@pytest.fixture(scope="module")
def found(network):
    made, images = network
    widths = {name: [Bits(weight=width, activation=width) for width in WIDTHS] for name in layer_modules(made)}
    return width_errors(made, images, widths, unsigned_activation_bits=8)


def test_the_cost_of_weights_is_the_divergence_that_rounding_them_makes(network, found):
    made, images = network
    with quantization_bypassed(made), torch.no_grad():
        before = functional.log_softmax(made(images), dim=1)
        measured, predicted = [], []
        for item in (one for one in found if one.side is Side.WEIGHT and one.bits >= 4):
            module = layer_modules(made)[item.layer]
            weight = module.weight.detach().clone()
            from qedeploy.model.quantizer import LsqQuantizer

            quantizer = LsqQuantizer(item.bits, signed=True, step_shape=tuple([len(weight)] + [1] * (weight.dim() - 1)))
            quantizer.set_step(best_weight_steps(weight, quantizer))
            module.weight.copy_(quantizer.eval()(weight))
            after = functional.log_softmax(made(images), dim=1)
            module.weight.copy_(weight)
            measured.append(float((before.exp() * (before - after)).sum(dim=1).mean()))
            predicted.append(item.error)
    assert kendalltau(measured, predicted).statistic > 0.85
    # Small divergences are of the second order alone; each figure has the noise of 64 drawn classes.
    ratios = np.asarray(predicted) / np.asarray(measured)
    assert 0.5 < np.median(ratios) < 2.0


def test_every_width_of_every_side_is_there_and_fewer_bits_cost_more(network, found):
    made, _ = network
    assert len(found) == len(layer_modules(made)) * 2 * len(WIDTHS)
    by_width = {width: sum(item.error for item in found if item.bits == width) for width in WIDTHS}
    assert sorted(by_width, key=by_width.get, reverse=True) == list(WIDTHS)
    assert all(item.spread > 0 for item in found if item.error > 0)


def test_the_network_is_left_as_it_was(network):
    made, images = network
    state = {key: value.clone() for key, value in made.state_dict().items()}
    required = [parameter.requires_grad for parameter in made.parameters()]
    width_errors(made, images[:4], {"stem": [Bits(weight=2, activation=16)]}, unsigned_activation_bits=8)
    assert all(torch.equal(value, state[key]) for key, value in made.state_dict().items())
    assert [parameter.requires_grad for parameter in made.parameters()] == required
    assert all(parameter.grad is None for parameter in made.parameters())
    assert not made.training


def test_the_same_pictures_and_seed_give_the_same_figures(network, found):
    made, images = network
    widths = {name: [Bits(weight=width, activation=width) for width in WIDTHS] for name in layer_modules(made)}
    assert width_errors(made, images, widths, unsigned_activation_bits=8) == found
