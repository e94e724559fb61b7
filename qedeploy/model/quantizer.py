"""Learned step size quantization: rounding to a few bits in the forward pass, with a step that trains.

Source: Esser et al., "Learned Step Size Quantization", ICLR 2020, https://arxiv.org/abs/1902.08153.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from qedeploy.errors import RequestError, UserError
from qedeploy.network.structure import MAX_BITS

SMALLEST_STEP = 1e-8
"""Least step of all, for channels of zeros: far below any that training finds, and x / step stays finite in float32."""

SMALLEST_RANGE = 0.5
"""Training keeps quant_max * step above this share of the mean magnitude: beneath it nearly all values clip."""

_CHUNK = 1 << 17
"""Values that are rounded at a time on a CPU: half a megabyte, as large as its second cache."""

_SAMPLE = 1 << 17
"""About how many values of a large batch the mean magnitude is taken of: a whole batch would cost a pass over it."""


class LsqQuantizer(nn.Module):
    """Rounds a tensor to `bits` wide integers times `step`: round(clip(x / step, quant_min, quant_max)) * step.

    Halves go to the even integer. Within the range the gradient passes straight through; the step's own gradient is
    the paper's, scaled by 1 / sqrt(quant_max * numel). As in the paper, numel counts all weights of the layer, per
    channel too: a channel's step learns as cautiously as a step for the whole tensor would.

    `step_shape` is (1,) for activations, (out, 1, 1, 1) for convolution weights, (out, 1) for linear weights.
    With 16 bits the quantizer is the identity and `step` is None. Until `initialized`, the step is only a placeholder:
    the first training batch that is not all zeros sets it.

    Steps stay positive: each training forward first lifts a step, where the optimizer pushed it to zero or made it so
    small that nearly all values clip, until the largest integer stands for SMALLEST_RANGE of the mean magnitude. The
    gradient still reaches it there, so that it can grow again. (Without this a high learning rate sends steps to zero,
    batch normalisation blows their layers up again, and training diverges.) They stay finite as long as gradients are:
    a NaN is not hidden, it makes the step NaN like any other weight. Evaluation changes no step.

    `trained` tells a step that gradients have reached from one that was merely set: export may choose the latter again.
    `bypassed` lets values through as they are, for the float network of the same weights. `parts` says into how many
    parts a batch is cut (processes, accumulated gradients), so that the step's gradient is that of the whole batch, and
    `average` makes one mean of the parts' means where other processes hold them.
    """

    step: Tensor | None
    initialized: Tensor

    def __init__(self, bits: int, *, signed: bool, step_shape: tuple[int, ...] = (1,)) -> None:
        """Make a quantizer of 2..16 bits; raises RequestError for a single bit, which has no positive integer."""
        super().__init__()
        if not 2 <= bits <= MAX_BITS:
            raise RequestError(f"expected widths of 2 to {MAX_BITS} bits, found {bits}: choose other widths")
        self.bits = bits
        self.signed = signed
        self.quantized = bits < MAX_BITS
        self.register_parameter("step", nn.Parameter(torch.ones(step_shape)) if self.quantized else None)
        self.register_buffer("initialized", torch.tensor(not self.quantized))
        self.trained = False
        self.bypassed = False
        self.parts = 1
        self.average: Callable[[Tensor], Tensor] | None = None
        # Reading the buffer would make a GPU wait once a layer and batch.
        self._known_initialized = False

    @property
    def clips_negative(self) -> bool:
        """Whether a training forward makes zeros of what is negative, and of its gradient, so that a ReLU need not."""
        return self.training and self.quantized and not self.signed and not self.bypassed and self._is_initialized()

    @property
    def quant_min(self) -> int:
        """Smallest integer."""
        return -(1 << self.bits - 1) if self.signed else 0

    @property
    def quant_max(self) -> int:
        """Largest integer."""
        return (1 << self.bits - 1) - 1 if self.signed else (1 << self.bits) - 1

    def forward(self, values: Tensor) -> Tensor:
        """Return `values`, of any shape that `step` broadcasts to, on the quantizer's grid.

        Raises UserError in evaluation mode while the step was never set.
        """
        if self.step is None or self.bypassed:
            return values
        was_initialized = self._is_initialized()
        if not was_initialized and not self._initialize_from(values):
            return values
        if self.training:
            self.trained = self.trained or (was_initialized and torch.is_grad_enabled())
            # Past autograd: a projection, not a part of the function that is differentiated.
            self.step.data.copy_(torch.maximum(self.step.data, self._smallest_step(values)))
        gradient_scale = 1 / math.sqrt(self.quant_max * max(values.numel() * self.parts, 1))
        return _quantize(values, self.step, self.quant_min, self.quant_max, gradient_scale)

    def integers(self, values: Tensor) -> Tensor:
        """Return the int32 integers that `values` round to; raises UserError where there is no step to round with."""
        if self.step is None:
            raise UserError(f"{self.bits} bits stand for not quantized: there are no integers to return")
        if not self._is_initialized():
            raise _uninitialized()
        step = self.step.detach().clamp(min=SMALLEST_STEP)
        return _round(values.detach(), step, self.quant_min, self.quant_max).to(torch.int32)

    @torch.no_grad()
    def set_step(self, step: Tensor | float) -> None:
        """Set the step, a value or a tensor of its shape, and mark it initialized; raises UserError unless positive."""
        if self.step is None:
            raise UserError(f"{self.bits} bits stand for not quantized: there is no step to set")
        value = torch.as_tensor(step, dtype=self.step.dtype, device=self.step.device)
        if not bool((torch.isfinite(value) & (value > 0)).all()):
            raise UserError("expected steps that are positive and finite")
        self.step.copy_(value.expand_as(self.step))
        self.initialized.fill_(True)

    @torch.no_grad()
    def initialize(self, values: Tensor) -> None:
        """Set the step to 2 * mean(abs(values)) / sqrt(quant_max), per channel where the step is."""
        if self.step is not None:
            self.set_step(self._initial_step(values).clamp(min=SMALLEST_STEP))

    def extra_repr(self) -> str:
        """Return what `print(network)` shows."""
        return f"bits={self.bits}, signed={self.signed}" if self.quantized else "not quantized"

    def _initial_step(self, values: Tensor) -> Tensor:
        return self._mean_magnitude(values.detach()) * (2 / math.sqrt(self.quant_max))

    def _smallest_step(self, values: Tensor) -> Tensor:
        values = values.detach()
        if values.numel() > 2 * _SAMPLE and self.step is not None and self.step.numel() == 1:
            values = values[: max(1, len(values) * _SAMPLE // values.numel())]
        # What an unsigned grid cannot hold counts as the zero that it becomes, whether a ReLU made it one or not.
        magnitude = self._mean_magnitude(values if self.signed else values.clamp(min=0))
        if self.average is not None:
            magnitude = self.average(magnitude)
        return (magnitude * (SMALLEST_RANGE / self.quant_max)).clamp_(min=SMALLEST_STEP)

    def _mean_magnitude(self, values: Tensor) -> Tensor:
        assert self.step is not None
        channels = values.reshape(self.step.numel(), -1)
        total: Tensor = torch.linalg.vector_norm(channels, ord=1, dim=1, dtype=self.step.dtype)
        return (total / channels.shape[1]).reshape(self.step.shape)

    def _is_initialized(self) -> bool:
        if not self._known_initialized:
            self._known_initialized = bool(self.initialized)
        return self._known_initialized

    def _initialize_from(self, values: Tensor) -> bool:
        if not self.training:
            raise _uninitialized()
        if not bool(values.detach().any()):
            return False  # Zeros are on every grid; the next batch may say more.
        self.initialize(values)
        return True

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *arguments: Any) -> None:
        self._known_initialized = False
        self.trained = bool(state_dict.get(f"{prefix}initialized", False))
        super()._load_from_state_dict(state_dict, prefix, *arguments)


class _Lsq(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, values: Tensor, step: Tensor, quant_min: int, quant_max: int, gradient_scale: float
    ) -> Tensor:
        step = step.clamp(min=SMALLEST_STEP)
        rounded = _fake_quantize(values, step, quant_min, quant_max)
        # The convolution keeps `rounded` as its input anyway.
        ctx.save_for_backward(values, step, rounded)
        ctx.range = (quant_min, quant_max)
        ctx.gradient_scale = gradient_scale
        return rounded

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        # d(rounded)/d(step) is rounded / step, less values / step where the gradient passes: two inner products,
        # where the formula written out takes a dozen passes over the activations.
        values, step, rounded = ctx.saved_tensors
        values = values.to(gradient.dtype)
        passed = _passed(gradient, values, step, *ctx.range)
        for_step = None
        if ctx.needs_input_grad[1]:
            total = _inner(gradient, rounded, step) - _inner(passed, values, step)
            for_step = (total / step * ctx.gradient_scale).to(step.dtype)
        return passed.to(ctx.saved_tensors[0].dtype) if ctx.needs_input_grad[0] else None, for_step, None, None, None


def _fake_quantize(values: Tensor, step: Tensor, quant_min: int, quant_max: int) -> Tensor:
    """Return `values` on the grid; large ones in chunks, which stay in the cache between the four operations."""
    flat = _flat(values)
    if step.numel() > 1 or values.is_cuda or flat is None or values.dtype != step.dtype or flat.numel() <= _CHUNK:
        return _round(values, step, quant_min, quant_max).mul_(_number(step))
    made = torch.empty_like(values)
    target = _flat(made)
    assert target is not None
    for source, part in zip(torch.split(flat, _CHUNK), torch.split(target, _CHUNK), strict=True):
        torch.div(source, _number(step), out=part).clamp_(quant_min, quant_max).round_().mul_(_number(step))
    return made


def _flat(values: Tensor) -> Tensor | None:
    """Return `values` in the order of their memory, one behind the other; None where they do not lie so."""
    if values.is_contiguous():
        return values.view(-1)
    if values.dim() == 4 and values.is_contiguous(memory_format=torch.channels_last):
        return values.permute(0, 2, 3, 1).view(-1)
    return None


def _passed(gradient: Tensor, values: Tensor, step: Tensor, quant_min: int, quant_max: int) -> Tensor:
    """Return `gradient` where `values` are inside the range, zero elsewhere."""
    if step.numel() == 1 and not step.is_cuda:
        # One pass over the memory; on a GPU reading the step would make it wait.
        width = step.item()
        passed: Tensor = torch.ops.aten.hardtanh_backward(gradient, values, quant_min * width, quant_max * width)
        return passed
    return gradient * ((values > quant_min * step) & (values < quant_max * step))


def _inner(first: Tensor, second: Tensor, step: Tensor) -> Tensor:
    """Return the sums of the products of what shares a step, in the shape of `step`."""
    if step.numel() > 1:
        return (first * second).reshape(step.numel(), -1).sum(dim=1).reshape(step.shape)
    ours, theirs = _flat(first), _flat(second)
    if ours is None or theirs is None or first.stride() != second.stride():
        return (first * second).sum().reshape(step.shape)
    return torch.dot(ours, theirs).reshape(step.shape)


def _quantize(values: Tensor, step: Tensor, quant_min: int, quant_max: int, gradient_scale: float) -> Tensor:
    quantized: Tensor = _Lsq.apply(values, step, quant_min, quant_max, gradient_scale)  # type: ignore[no-untyped-call]
    return quantized


def _round(values: Tensor, step: Tensor, quant_min: int, quant_max: int) -> Tensor:
    # A step for all values goes in as a number: dividing by a tensor of one element takes three times as long.
    values = values.to(torch.promote_types(values.dtype, step.dtype))
    return (values / _number(step)).clamp_(quant_min, quant_max).round_()


def _number(step: Tensor) -> Tensor:
    return step.reshape(()) if step.numel() == 1 else step


def _uninitialized() -> UserError:
    return UserError(
        "an activation step was never set: train for a batch, or call initialize_steps(network, images) "
        "from qedeploy.model.network before evaluating"
    )
