"""PyTorch's run of a lowering plan, in float64 over exact integers: the standard for every exported graph."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from qedeploy.network.layers import Layer, LayerKind
from qedeploy.network.operations import IMAGE, Operation, OperationKind
from qedeploy.qdq.float_nodes import execute_node
from qedeploy.qdq.fold import FoldedLayer, groups_of
from qedeploy.qdq.lowered import LoweredNetwork
from qedeploy.qdq.plan import Grid

_EXACT_IN_FLOAT32 = 2**24
_CHUNK = 4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reading:
    """A value as an operation reads it: `numbers` times `step`.

    For a quantized value the numbers are whole and float32, for a floating-point one float64 and the step is 1.
    """

    numbers: Tensor
    step: float = 1.0

    def real(self) -> Tensor:
        """Return the value itself."""
        return self.numbers.to(torch.float64) * self.step


def quantize(value: Tensor, grid: Grid) -> Tensor:
    """Return the integers of `value` on `grid`, as float32; rounds half to even."""
    return (value / grid.step).round_().clamp_(grid.low, grid.high).to(torch.float32)


def read(value: Tensor, grid: Grid | None) -> Reading:
    """Return `value` as the next operation reads it, rounded where there is a grid."""
    return Reading(numbers=value) if grid is None else Reading(numbers=quantize(value, grid), step=grid.step)


def execute(operation: Operation, inputs: Sequence[Reading], layer: FoldedLayer | None) -> Tensor:
    """Return the output of one operation, its activation included, in float64 and not rounded."""
    first = inputs[0]
    match operation.kind:
        case OperationKind.ADD:
            value = first.real() + inputs[1].real()
        case OperationKind.AVERAGE_POOL:
            value = functional.avg_pool2d(first.real(), 2, 2, ceil_mode=True)
        case OperationKind.GLOBAL_AVERAGE_POOL:
            value = first.numbers.to(torch.float64).mean(dim=(2, 3), keepdim=True) * first.step
        case OperationKind.FLOAT:
            value = execute_node(operation, [reading.real() for reading in inputs])
        case _:
            if operation.layer is None or layer is None:
                raise ValueError(f"{operation.name}: a {operation.kind} needs its weights")
            value = _weighted(operation.layer, first, layer)
    if operation.activation is None:
        return value
    return value.clamp_(min=0, max=operation.activation.ceiling)


def run(
    network: LoweredNetwork, images: Tensor, *, without: Collection[str] = (), raw_shortcuts: bool = False
) -> Iterator[tuple[Operation, Tensor]]:
    """Yield each operation with its output before rounding; the last is the logits (batch, classes).

    `images`: (batch, channels, height, width). `without` names values whose rounding is left out and `raw_shortcuts`
    reads the origin of shortcuts as it was before rounding: both as in training, to show what the plan changes.
    """
    grids = {name: grid for name, grid in network.plan.grids().items() if name not in without}
    values = {IMAGE: images.to(torch.float64)}
    readings = {IMAGE: read(values[IMAGE], grids.get(IMAGE))}
    steps = network.graph.operations
    pooled = {step.name for step in steps if step.kind is OperationKind.AVERAGE_POOL}
    last_use = {name: index for index, step in enumerate(steps) for name in step.inputs}
    for index, step in enumerate(steps):
        inputs = [readings[name] for name in step.inputs]
        if raw_shortcuts and step.kind is OperationKind.ADD and step.inputs[1] not in pooled:
            inputs[1] = Reading(numbers=values[step.inputs[1]])
        if raw_shortcuts and step.name in pooled:
            inputs[0] = Reading(numbers=values[step.inputs[0]])
        value = execute(step, inputs, network.layers.get(step.name))
        yield step, value
        values[step.name] = value
        readings[step.name] = read(value, grids.get(step.name))
        for name in [name for name in values if last_use.get(name, len(steps)) <= index]:
            del values[name], readings[name]


def logits(
    network: LoweredNetwork, images: Tensor, *, without: Collection[str] = (), raw_shortcuts: bool = False
) -> Tensor:
    """Return the logits (batch, classes) of `run`, four images at a time."""
    parts = []
    for chunk in torch.split(images, _CHUNK):
        *_, (_, value) = run(network, chunk, without=without, raw_shortcuts=raw_shortcuts)
        parts.append(value)
    return torch.cat(parts)


def constants(layer: FoldedLayer) -> Mapping[str, Tensor]:
    """Return weight, scale and bias of a layer as float64 tensors; the scale of floating-point weights is 1."""
    bias = torch.from_numpy(layer.bias)
    scale = torch.ones_like(bias) if layer.scale is None else torch.from_numpy(layer.scale).to(torch.float64)
    return {"weight": torch.from_numpy(layer.weight).to(torch.float64), "scale": scale, "bias": bias}


def _weighted(layer: Layer, value: Reading, folded: FoldedLayer) -> Tensor:
    held = constants(folded)
    if layer.kind is LayerKind.LINEAR:
        return (
            value.numbers.to(torch.float64).flatten(1) @ held["weight"].T * (held["scale"] * value.step) + held["bias"]
        )
    sums = _convolve(layer, value.numbers, held["weight"])
    return sums.mul_((held["scale"] * value.step)[:, None, None]).add_(held["bias"][:, None, None])


def _convolve(layer: Layer, value: Tensor, weight: Tensor) -> Tensor:
    # Whole numbers add up exactly in any order while every partial sum fits the mantissa, which is what lets the
    # fast float32 kernels serve; floating-point values and wider sums take float64.
    bound = float(value.abs().max() * weight.abs().flatten(1).sum(dim=1).max())
    whole = value.dtype is torch.float32 and bool((weight == weight.round()).all())
    dtype = torch.float32 if whole and bound < _EXACT_IN_FLOAT32 else torch.float64
    window = layer.window
    top, left, bottom, right = window.padding
    padded = value if window.symmetric else functional.pad(value, (left, right, top, bottom))
    sums = functional.conv2d(
        padded.to(dtype),
        weight.to(dtype),
        stride=window.stride,
        padding=(top, left) if window.symmetric else 0,
        dilation=window.dilation,
        groups=groups_of(layer, weight.shape[0]),
    )
    return sums.to(torch.float64)
