"""Learned step size quantization: rounding to a few bits in the forward pass, with a step that trains.

Source: Esser et al., "Learned Step Size Quantization", ICLR 2020, https://arxiv.org/abs/1902.08153.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from qedeploy.errors import RequestError, UserError
from qedeploy.model.rounding import SMALLEST_STEP, quantize, round_to_integers
from qedeploy.network.structure import MAX_BITS

SMALLEST_RANGE = 0.5
"""Training keeps quant_max * step above this share of the mean magnitude: beneath it nearly all values clip."""

_SAMPLE = 1 << 14
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
            step = self.step.data
            torch.maximum(step, self._smallest_step(values), out=step)
        gradient_scale = 1 / math.sqrt(self.quant_max * max(values.numel() * self.parts, 1))
        return quantize(values, self.step, self.quant_min, self.quant_max, gradient_scale)

    def integers(self, values: Tensor) -> Tensor:
        """Return the int32 integers that `values` round to; raises UserError where there is no step to round with."""
        if self.step is None:
            raise UserError(f"{self.bits} bits stand for not quantized: there are no integers to return")
        if not self._is_initialized():
            raise _uninitialized()
        step = self.step.detach().clamp(min=SMALLEST_STEP)
        return round_to_integers(values.detach(), step, self.quant_min, self.quant_max).to(torch.int32)

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
        assert self.step is not None
        # Summed in this order since 0.1.0: a network that is built again has the same bytes.
        channels = values.detach().reshape(self.step.numel(), -1)
        total: Tensor = torch.linalg.vector_norm(channels, ord=1, dim=1, dtype=self.step.dtype)
        return (total / channels.shape[1]).reshape(self.step.shape) * (2 / math.sqrt(self.quant_max))

    def _smallest_step(self, values: Tensor) -> Tensor:
        values = values.detach()
        if values.numel() > 2 * _SAMPLE and self.step is not None and self.step.numel() == 1:
            values = values[: max(1, len(values) * _SAMPLE // values.numel())]
        # What an unsigned grid cannot hold counts as the zero that it becomes, whether a ReLU made it one or not.
        share = SMALLEST_RANGE / self.quant_max
        smallest = self._mean_magnitude(values if self.signed else values.clamp(min=0), share)
        if self.average is not None:
            smallest = self.average(smallest)
        return smallest.clamp_(min=SMALLEST_STEP)

    def _mean_magnitude(self, values: Tensor, share: float) -> Tensor:
        """Return `share` of the mean magnitude of what has one step, in the shape of `step`."""
        assert self.step is not None
        # Without reshaping, which would copy what lies channels-last.
        dims = tuple(range(1, values.dim())) if self.step.numel() > 1 else None
        total: Tensor = torch.linalg.vector_norm(values, ord=1, dim=dims, dtype=self.step.dtype)
        return total.mul_(share * self.step.numel() / values.numel()).reshape(self.step.shape)

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


def _uninitialized() -> UserError:
    return UserError(
        "an activation step was never set: train for a batch, or call initialize_steps(network, images) "
        "from qedeploy.model.network before evaluating"
    )
