"""Rounding to a grid in the forward pass, the gradients of learned step size quantization in the backward pass.

Memory is what takes the time: large tensors go through in chunks that stay in a CPU's cache from one operation to the
next, and small ones, which are layers' weights, through as few operations as there can be.

Source: Esser et al., "Learned Step Size Quantization", ICLR 2020, https://arxiv.org/abs/1902.08153.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

SMALLEST_STEP = 1e-8
"""Least step of all, for channels of zeros: far below any that training finds, and x / step stays finite in float32."""

_CHUNK = 1 << 17
"""Values that go through at a time on a CPU: half a megabyte each, so that a chunk's tensors fit its second cache."""


def quantize(values: Tensor, step: Tensor, quant_min: int, quant_max: int, gradient_scale: float) -> Tensor:
    """Return round(clip(values / step, quant_min, quant_max)) * step, of the dtype of `step` or a wider one.

    Within the range the gradient passes straight through; the step's own is the paper's times `gradient_scale`.
    """
    kind = _PerTensor if step.numel() == 1 else _PerChannel
    quantized: Tensor = kind.apply(values, step, quant_min, quant_max, gradient_scale)  # type: ignore[no-untyped-call]
    return quantized


def round_to_integers(values: Tensor, step: Tensor, quant_min: int, quant_max: int) -> Tensor:
    """Return round(clip(values / step, quant_min, quant_max)), still floating point; halves go to the even integer."""
    # A step for all values goes in as a number: dividing by a tensor of one element takes three times as long.
    values = values.to(torch.promote_types(values.dtype, step.dtype))
    return (values / _number(step)).clamp_(quant_min, quant_max).round_()


class _PerChannel(torch.autograd.Function):
    """A step for each channel: few values, of which the quotients are kept, where both gradients are read off."""

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, step: Tensor, quant_min: int, quant_max: int, gradient_scale: float
    ) -> Tensor:
        step = step.clamp(min=SMALLEST_STEP)
        quotients = values / step
        integers = quotients.clamp(quant_min, quant_max).round_()
        ctx.save_for_backward(quotients, integers)
        ctx.dtype = values.dtype
        ctx.channels = step.shape
        ctx.range = (quant_min, quant_max)
        ctx.gradient_scale = gradient_scale
        return integers * step

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        quotients, integers = ctx.saved_tensors
        gradient = gradient.to(quotients.dtype)
        passed = _passed(gradient, quotients, *ctx.range)
        for_step = None
        if ctx.needs_input_grad[1]:
            # d(rounded)/d(step) is the integer, less values / step where the gradient passes.
            products = (gradient * integers).addcmul_(passed, quotients, value=-1)
            for_step = products.sum_to_size(ctx.channels).mul_(ctx.gradient_scale)
        return passed.to(ctx.dtype) if ctx.needs_input_grad[0] else None, for_step, None, None, None


class _PerTensor(torch.autograd.Function):
    """One step for all values: many of them, whose quotients would be one tensor more to write and to read."""

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, step: Tensor, quant_min: int, quant_max: int, gradient_scale: float
    ) -> Tensor:
        ctx.range = (quant_min, quant_max)
        ctx.gradient_scale = gradient_scale
        ctx.width = None
        # A copy: the step itself may be lifted before the backward pass.
        step = step.clamp(min=SMALLEST_STEP)
        flat = None if values.is_cuda or values.dtype != step.dtype else _flat(values)
        if flat is None:
            # On a GPU reading the step would make it wait.
            rounded = round_to_integers(values, step, quant_min, quant_max).mul_(_number(step))
        else:
            ctx.width = step.item()
            rounded = torch.empty_like(values)
            for source, part in _chunks(flat, _flat(rounded)):
                torch.div(source, ctx.width, out=part).clamp_(quant_min, quant_max).round_().mul_(ctx.width)
        # The convolution keeps `rounded` as its input anyway.
        ctx.save_for_backward(values, step, rounded)
        return rounded

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        # d(rounded)/d(step) is rounded / step, less values / step where the gradient passes: two inner products.
        values, step, rounded = ctx.saved_tensors
        low, high = ctx.range
        flat = None if ctx.width is None or gradient.stride() != values.stride() else _flat(gradient)
        if flat is None or gradient.dtype != values.dtype:
            passed = gradient * ((values > low * step) & (values < high * step))
            total = (gradient * rounded).sum() - (passed * values.to(gradient.dtype)).sum()
            for_step = (total / step * ctx.gradient_scale).to(step.dtype)
        else:
            passed, total = torch.empty_like(values), 0.0
            for slope, source, made, target in _chunks(flat, _flat(values), _flat(rounded), _flat(passed)):
                _passed(slope, source, low * ctx.width, high * ctx.width, out=target)
                total += torch.dot(slope, made).item() - torch.dot(target, source).item()
            for_step = torch.full_like(step, total / ctx.width * ctx.gradient_scale)
        return (
            passed.to(values.dtype) if ctx.needs_input_grad[0] else None,
            for_step if ctx.needs_input_grad[1] else None,
            None,
            None,
            None,
        )


def _chunks(*tensors: Tensor | None) -> Iterable[tuple[Tensor, ...]]:
    """Return the parts that lie at the same places of flat tensors of one size."""
    present = [tensor for tensor in tensors if tensor is not None]
    if present[0].numel() <= _CHUNK:
        return (tuple(present),)
    return zip(*(torch.split(tensor, _CHUNK) for tensor in present), strict=True)


def _passed(gradient: Tensor, values: Tensor, low: float, high: float, out: Tensor | None = None) -> Tensor:
    """Return `gradient` where `values` are between `low` and `high`, zero elsewhere, in one pass over the memory."""
    backward = torch.ops.aten.hardtanh_backward
    passed: Tensor = (
        backward(gradient, values, low, high)
        if out is None
        else backward.grad_input(gradient, values, low, high, grad_input=out)
    )
    return passed


def _flat(values: Tensor) -> Tensor | None:
    """Return `values` in the order of their memory, one behind the other; None where they do not lie so."""
    if values.is_contiguous():
        return values.view(-1)
    if values.dim() == 4 and values.is_contiguous(memory_format=torch.channels_last):
        return values.permute(0, 2, 3, 1).view(-1)
    return None


def _number(step: Tensor) -> Tensor:
    return step.reshape(()) if step.numel() == 1 else step
