from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from qedeploy.qdq.fold import LayerWeights, fold, normalisation, with_integer_bias
from qedeploy.qdq.lowered import bias_integers


def layer(gain, shift, weight=None, step=0.1, channels=2):
    weight = np.array([[-128.0, 127.0, 5.0], [1.0, -2.0, 3.0]]) if weight is None else weight
    return LayerWeights(
        weight=weight, step=np.full(channels, step), gain=np.array(gain, float), shift=np.array(shift, float)
    )


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10_000), bits=st.integers(2, 8))
def test_folding_equals_pytorchs_own_normalisation(seed, bits):
    generator = np.random.default_rng(seed)
    out, low, high = 5, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    integers = generator.integers(low, high + 1, (out, 3, 3, 3)).astype(float)
    step = generator.uniform(0.01, 0.1, out)
    gamma, beta, mean = generator.normal(size=(3, out))
    variance = generator.uniform(0.1, 2, out)
    gain, shift = normalisation(gamma, beta, mean, variance, 1e-5)
    folded = fold(LayerWeights(weight=integers, step=step, gain=gain, shift=shift))
    image = torch.from_numpy(generator.normal(size=(1, 3, 6, 6)))
    weight = torch.from_numpy(integers * step[:, None, None, None])
    means, variances, gammas, betas = (torch.from_numpy(value) for value in (mean, variance, gamma, beta))
    expected = functional.batch_norm(functional.conv2d(image, weight), means, variances, gammas, betas, eps=1e-5)
    real = torch.from_numpy(folded.weight * folded.scale.astype(float)[:, None, None, None])
    found = functional.conv2d(image, real, torch.from_numpy(folded.bias))
    assert (folded.scale > 0).all()
    clipped = np.flatnonzero((integers == -128).any(axis=(1, 2, 3)) & (gain < 0))
    kept = np.setdiff1d(np.arange(out), clipped)
    # Scales are rounded to float32, which is the only difference.
    assert torch.allclose(found[:, kept], expected[:, kept], rtol=1e-5, atol=1e-5)


def test_a_negative_gain_turns_the_integers_and_counts_the_one_without_a_twin():
    folded = fold(layer([-2.0, -1.0], [0.5, 0.0]))
    assert folded.weight.tolist() == [[127, -127, -5], [-1, 2, -3]]
    assert folded.scale == pytest.approx([0.2, 0.1])
    assert folded.clipped_weights == 1


def test_below_8_bits_the_lowest_integer_has_its_twin_unless_the_type_is_narrow():
    weight = np.array([[-8.0, 7.0]])
    turned = fold(layer([-1.0], [0.0], weight, channels=1))
    assert turned.weight.tolist() == [[8, -7]]
    assert turned.clipped_weights == 0
    narrow = fold(layer([-1.0], [0.0], weight, channels=1), highest=7)
    assert narrow.weight.tolist() == [[7, -7]]
    assert narrow.clipped_weights == 1


@pytest.mark.parametrize("gain", [0.0, 1e-40, -1e-45])
def test_a_dead_channel_keeps_its_bias_under_a_positive_finite_scale(gain):
    folded = fold(layer([gain, 1.0], [0.25, 0.0]))
    assert folded.weight[0].tolist() == [0, 0, 0]
    assert folded.scale[0] == 1.0
    assert folded.bias[0] == 0.25
    assert folded.dead_channels == 1
    assert np.isfinite(with_integer_bias(folded, 0.05).bias).all()


def test_integer_biases_lie_on_the_grid_of_their_products():
    folded = with_integer_bias(fold(layer([1.0, 0.5], [0.333, -7.77])), 0.07)
    unit = 0.07 * folded.scale.astype(float)
    assert folded.bias == pytest.approx([0.333, -7.77], abs=unit.max() / 2)
    assert bias_integers(folded, 0.07) * unit == pytest.approx(folded.bias, rel=1e-12)


def test_a_bias_that_32_bits_do_not_hold_makes_its_channel_coarser():
    """A channel that training nearly switched off has a tiny scale and an ordinary bias."""
    folded = with_integer_bias(fold(layer([1e-12, 1.0], [3.0, 3.0])), 0.05)
    assert folded.rescaled_channels == 1
    assert abs(bias_integers(folded, 0.05).astype(np.int64)).max() <= 2**30 + 2**7
    assert folded.bias == pytest.approx([3.0, 3.0], rel=1e-2)
    assert folded.scale[1] == pytest.approx(0.1 / 16)
    assert folded.weight[1].tolist() == [16, -32, 48]


@pytest.mark.parametrize("bits", range(2, 9))
def test_narrow_weights_are_held_in_multiples_so_that_biases_round_finely(bits):
    highest = 2 ** (bits - 1)
    weight = np.array([[float(-highest), highest - 1.0, 1.0]])
    before = fold(layer([1.0], [0.3], weight, step=0.1, channels=1))
    after = with_integer_bias(before, 0.5)
    # The same weights, to the bit: a power of two moves only the exponent of the scale.
    assert (after.weight * after.scale.astype(float) == before.weight * before.scale.astype(float)).all()
    assert after.weight_multiple == max(64 // highest, 1)
    assert np.abs(after.weight.astype(int)).max() <= 128
    assert after.bias[0] == pytest.approx(0.3, abs=0.5 * 0.1 / after.weight_multiple / 2)


def test_floating_point_weights_take_the_gain_themselves():
    weights = LayerWeights(weight=np.array([[1.0, -2.0]]), step=None, gain=np.array([-3.0]), shift=np.array([0.5]))
    folded = fold(weights)
    assert folded.scale is None
    assert folded.weight.tolist() == [[-3.0, 6.0]]
    assert with_integer_bias(folded, 0.1) is folded
