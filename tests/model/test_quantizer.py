"""The quantizer against PyTorch's own fake quantization, and its gradients against the paper's formula in NumPy."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qedeploy.errors import RequestError, UserError
from qedeploy.model.quantizer import SMALLEST_RANGE, LsqQuantizer
from qedeploy.model.rounding import SMALLEST_STEP

WIDTHS = range(2, 9)


def quantizer(bits: int, *, signed: bool, step: torch.Tensor | float, dtype=torch.float64) -> LsqQuantizer:
    step = torch.as_tensor(step, dtype=dtype)
    made = LsqQuantizer(bits, signed=signed, step_shape=tuple(step.shape) or (1,)).to(dtype)
    made.set_step(step)
    return made


def bounds(bits: int, signed: bool) -> tuple[int, int]:
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


def paper_step_gradient(values: np.ndarray, step: np.ndarray, upstream: np.ndarray, bits: int, signed: bool):
    """Equation 3 of Esser et al. 2020, summed over what shares a step, times 1 / sqrt(N Q_P) (section 2.2)."""
    low, high = bounds(bits, signed)
    v = values / step
    slope = np.where(v <= low, low, np.where(v >= high, high, np.rint(v) - v))
    axes = tuple(axis for axis in range(values.ndim) if step.ndim != values.ndim or step.shape[axis] == 1)
    total = (slope * upstream).sum(axis=axes, keepdims=step.ndim == values.ndim)
    return total.reshape(step.shape) / math.sqrt(values.size * high)


def paper_value_gradient(values: np.ndarray, step: np.ndarray, upstream: np.ndarray, bits: int, signed: bool):
    low, high = bounds(bits, signed)
    v = values / step
    return np.where((v > low) & (v < high), upstream, 0.0)


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("bits", WIDTHS)
def test_per_tensor_forward_is_what_torch_computes(bits, signed):
    torch.manual_seed(bits)
    values = torch.randn(50_000) * 3
    step = 0.0371
    ours = quantizer(bits, signed=signed, step=step, dtype=torch.float32).eval()
    theirs = torch.fake_quantize_per_tensor_affine(values, step, 0, *bounds(bits, signed))
    away_from_halves = ((values / step).frac().abs() - 0.5).abs() > 1e-4  # torch multiplies by the inverse instead
    torch.testing.assert_close(ours(values)[away_from_halves], theirs[away_from_halves], rtol=1e-6, atol=0)
    assert away_from_halves.float().mean() > 0.99


@pytest.mark.parametrize("bits", WIDTHS)
def test_per_channel_forward_is_what_torch_computes(bits):
    torch.manual_seed(bits)
    values = torch.randn(16, 8, 3, 3)
    step = torch.rand(16, 1, 1, 1) / 2**bits + 0.01
    ours = quantizer(bits, signed=True, step=step, dtype=torch.float32).eval()
    zeros = torch.zeros(16, dtype=torch.int32)
    theirs = torch.fake_quantize_per_channel_affine(values, step.flatten(), zeros, 0, *bounds(bits, True))
    away_from_halves = ((values / step).frac().abs() - 0.5).abs() > 1e-4
    torch.testing.assert_close(ours(values)[away_from_halves], theirs[away_from_halves], rtol=1e-6, atol=0)


def test_halves_go_to_the_even_integer():
    values = torch.tensor([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5], dtype=torch.float64)
    assert quantizer(4, signed=True, step=1.0).integers(values).tolist() == [-2, -2, 0, 0, 2, 2]


@given(
    bits=st.integers(2, 8),
    signed=st.booleans(),
    per_channel=st.booleans(),
    step=st.floats(1e-3, 10),
    seed=st.integers(0, 2**32 - 1),
)
@settings(deadline=None, max_examples=150)
def test_gradients_are_the_papers(bits, signed, per_channel, step, seed):
    generator = np.random.default_rng(seed)
    values = generator.normal(0, step * 2**bits / 5, (3, 2, 4, 4))
    steps = step * generator.uniform(0.5, 2, (3, 1, 1, 1) if per_channel else (1,))
    upstream = generator.normal(size=values.shape)
    made = quantizer(bits, signed=signed, step=torch.from_numpy(steps))
    inputs = torch.from_numpy(values).requires_grad_()
    made(inputs).backward(torch.from_numpy(upstream))
    expected = paper_step_gradient(values, steps, upstream, bits, signed)
    np.testing.assert_allclose(made.step.grad, expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(inputs.grad, paper_value_gradient(values, steps, upstream, bits, signed))


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("bits", WIDTHS)
def test_step_gradient_is_the_slope_of_the_straight_through_function(bits, signed):
    """The paper's gradient is that of (clip(x / s, low, high) + c) s with the rounding error c held: smooth."""
    generator = np.random.default_rng(bits)
    step, delta = 0.3, 1e-6
    low, high = bounds(bits, signed)
    values = generator.normal(0, step * 2**bits / 2, 200)
    clipped = np.clip(values / step, low, high)
    error = np.rint(clipped) - clipped

    def surrogate(s: float) -> float:
        return float(((np.clip(values / s, low, high) + error) * s).sum())

    slope = (surrogate(step + delta) - surrogate(step - delta)) / (2 * delta)
    made = quantizer(bits, signed=signed, step=step)
    made(torch.from_numpy(values)).sum().backward()
    assert made.step.grad.item() * math.sqrt(values.size * high) == pytest.approx(slope, rel=1e-5, abs=1e-4)


@given(bits=st.integers(2, 15), signed=st.booleans(), seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=60)
def test_integers_times_step_is_the_forward_and_quantizing_twice_changes_nothing(bits, signed, seed):
    values = torch.from_numpy(np.random.default_rng(seed).normal(0, 4, 100))
    made = quantizer(bits, signed=signed, step=0.01).eval()
    integers = made.integers(values)
    assert integers.dtype == torch.int32
    assert made.quant_min <= integers.min()
    assert integers.max() <= made.quant_max
    torch.testing.assert_close(made(values), integers * made.step, rtol=0, atol=0)
    torch.testing.assert_close(made(made(values)), made(values), rtol=0, atol=0)


def test_sixteen_bits_is_the_identity_without_a_step():
    made = LsqQuantizer(16, signed=True)
    values = torch.randn(4)
    assert made(values) is values
    assert made.step is None
    assert list(made.parameters()) == []
    assert bool(made.initialized)
    with pytest.raises(UserError, match="not quantized"):
        made.integers(values)
    with pytest.raises(UserError, match="not quantized"):
        made.set_step(1.0)


@pytest.mark.parametrize("bits", [0, 1, 17])
def test_impossible_widths_are_refused(bits):
    with pytest.raises(RequestError, match=f"found {bits}"):
        LsqQuantizer(bits, signed=True)


def test_the_first_training_batch_sets_the_step_and_no_later_one():
    made = LsqQuantizer(4, signed=False)
    first = torch.rand(100)
    made(first)
    assert bool(made.initialized)
    assert made.step.item() == pytest.approx(2 * first.mean().item() / math.sqrt(15), rel=1e-6)
    before = made.step.item()
    made(torch.rand(100) * 2)
    assert made.step.item() == before


def test_a_batch_of_zeros_does_not_set_the_step():
    made = LsqQuantizer(4, signed=False)
    assert made(torch.zeros(5)).abs().sum() == 0
    assert not bool(made.initialized)
    made(torch.ones(5))
    assert bool(made.initialized)


def test_evaluation_without_a_step_is_refused_with_the_mend():
    made = LsqQuantizer(4, signed=False).eval()
    with pytest.raises(UserError, match="initialize_steps"):
        made(torch.ones(3))
    with pytest.raises(UserError, match="initialize_steps"):
        made.integers(torch.ones(3))


@pytest.mark.parametrize("step", [0.0, -1.0, math.nan, math.inf])
def test_setting_an_impossible_step_is_refused(step):
    with pytest.raises(UserError, match="positive and finite"):
        LsqQuantizer(4, signed=True).set_step(step)


@pytest.mark.parametrize("pushed_to", [1e-6, 0.0, -3.0])
def test_a_step_pushed_below_zero_is_lifted_and_grows_again(pushed_to):
    made = quantizer(4, signed=False, step=0.1, dtype=torch.float32)
    made.step.data.fill_(pushed_to)
    values = torch.rand(64)
    (made(values) - values).square().sum().backward()
    assert 15 * made.step.item() == pytest.approx(SMALLEST_RANGE * values.mean().item())
    assert torch.isfinite(made.step.grad).all()
    assert made.step.grad.item() < 0, "the loss falls as the step grows"
    optimizer = torch.optim.SGD([made.step], lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        (made(values) - values).square().sum().backward()
        optimizer.step()
    assert 15 * made.step.item() > 0.8, "the range that covers the values"


def test_evaluation_changes_nothing_in_the_quantizer():
    made = quantizer(4, signed=False, step=0.1, dtype=torch.float32).eval()
    made.step.data.fill_(-1.0)
    assert torch.isfinite(made(torch.rand(8))).all()
    assert made.step.item() == -1.0


@pytest.mark.parametrize("scale", [1.5, 100.0])
def test_two_forwards_before_one_backward(scale):
    made = quantizer(4, signed=True, step=0.4)
    values = torch.linspace(-3, 3, 50, dtype=torch.float64)
    first = made(values)
    second_step = max(0.4, SMALLEST_RANGE * scale * values.abs().mean().item() / 7)
    (first + made(scale * values)).sum().backward()
    expected = [
        paper_step_gradient(x.numpy(), np.array([step]), np.ones(50), 4, True)
        for x, step in ((values, 0.4), (scale * values, second_step))
    ]
    assert made.step.item() == pytest.approx(second_step)
    np.testing.assert_allclose(made.step.grad, sum(expected), atol=1e-9)


def test_copies_and_state_dicts_carry_the_step():
    made = LsqQuantizer(4, signed=False)
    made(torch.rand(10))
    values = torch.rand(20)
    loaded = LsqQuantizer(4, signed=False)
    loaded.load_state_dict(made.state_dict())
    for other in (copy.deepcopy(made), loaded):
        torch.testing.assert_close(other.eval()(values), made(values), rtol=0, atol=0)
    made.load_state_dict(LsqQuantizer(4, signed=False).state_dict())
    with pytest.raises(UserError, match="never set"):
        made.eval()(values)


def test_per_channel_initial_step_is_the_papers_and_survives_a_dead_channel():
    weight = torch.randn(4, 3, 3, 3)
    weight[2] = 0
    made = LsqQuantizer(4, signed=True, step_shape=(4, 1, 1, 1))
    made.initialize(weight)
    expected = (2 * weight.abs().mean(dim=(1, 2, 3)) / math.sqrt(7)).clamp(min=SMALLEST_STEP)
    torch.testing.assert_close(made.step.detach().flatten(), expected)
    made(weight).sum().backward()
    assert torch.isfinite(made.step.grad).all()


def test_half_precision_inputs_are_rounded_in_the_precision_of_the_step():
    made = quantizer(8, signed=True, step=0.01, dtype=torch.float32)
    values = torch.randn(100).half().requires_grad_()
    outputs = made(values)
    assert outputs.dtype == torch.float32
    outputs.sum().backward()
    assert values.grad.dtype == torch.float16
    assert made.step.grad.dtype == torch.float32


def test_parts_of_a_batch_add_up_to_the_whole():
    """Each part's loss is a mean over the part, and the parts' gradients are averaged: as over processes."""
    values = torch.randn(8, 50, dtype=torch.float64)
    whole, parts = (quantizer(4, signed=True, step=0.3) for _ in range(2))
    whole(values).square().mean().backward()
    parts.parts = 2
    for half in values.chunk(2):
        (parts(half).square().mean() / 2).backward()
    torch.testing.assert_close(parts.step.grad, whole.step.grad)


def test_an_unsigned_quantizer_does_what_a_relu_does():
    made = quantizer(4, signed=False, step=0.2)
    values = torch.randn(200, dtype=torch.float64)
    ours, theirs = values.clone().requires_grad_(), values.clone().requires_grad_()
    upstream = torch.randn(200, dtype=torch.float64)
    made(ours).backward(upstream)
    gradient = made.step.grad.clone()
    made.step.grad = None
    made(torch.relu(theirs)).backward(upstream)
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=0, atol=0)
    torch.testing.assert_close(made.step.grad, gradient)


def test_large_batches_are_rounded_as_small_ones_and_in_any_layout():
    values = torch.randn(8, 32, 40, 40)
    made = quantizer(4, signed=True, step=0.3, dtype=torch.float32)
    expected = (values / 0.3).clamp(-8, 7).round() * made.step.detach()
    for layout in (torch.contiguous_format, torch.channels_last):
        inputs = values.clone(memory_format=layout).requires_grad_()
        outputs = made(inputs)
        torch.testing.assert_close(outputs, expected)
        assert outputs.is_contiguous(memory_format=layout)
        made.step.grad = None
        outputs.square().sum().backward()
        upstream = 2 * expected.double().numpy()
        slopes = paper_step_gradient(values.detach().double().numpy(), np.array([0.3]), upstream, 4, True)
        assert float(made.step.grad) == pytest.approx(slopes.item(), rel=1e-3)


def test_only_a_gradient_makes_a_set_step_a_trained_one():
    made = LsqQuantizer(4, signed=False)
    made(torch.rand(20))
    assert not made.trained, "the first batch sets the step"
    with torch.no_grad():
        made(torch.rand(20))
    assert not made.trained
    made(torch.rand(20))
    assert made.trained
