"""What each operator of a program computes, in LiteRT's own integers: the standard for what a file computes.

PyTorch's run of the plan rounds once; LiteRT rounds in its fixed-point arithmetic. This is that arithmetic, written
from the reference kernels and compared with them, so that a file's every integer is known beforehand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from qedeploy.runtimes.litert.fixed_point import Multiplier
from qedeploy.runtimes.litert.program import Call, Operator, Placement, Program, Tensor
from qedeploy.runtimes.litert.zero_points import HIGHEST, LOWEST

_ADD_SHIFT = 20
"""Bits by which an ADD makes its inputs finer before it brings them to one scale."""

_EXACT_IN_FLOAT32 = 2**24

Integers = NDArray[np.int64]


def compute(program: Program, call: Call, values: Mapping[str, NDArray[np.int8]]) -> Integers:
    """Return what `call` makes of `values`, int8 arrays of its computed inputs by name, channels last."""
    inputs = [program.tensors[name] for name in call.inputs]
    output = program.tensors[call.output]
    read = [
        (values[tensor.name] if tensor.data is None else np.asarray(tensor.data)).astype(np.int64) for tensor in inputs
    ]
    match call.operator:
        case Operator.RESHAPE:
            return read[0].reshape(output.shape)
        case Operator.MAXIMUM:
            return np.maximum(*read)
        case Operator.AVERAGE_POOL:
            return _pooled(read[0], call.placement)
        case Operator.MEAN:
            result = _mean(read[0], inputs[0], output)
        case Operator.ADD:
            result = _sum(read, inputs, output)
        case _:
            result = _convolved(call, read, inputs, output)
    return np.clip(result + output.zero_point, output.zero_point if call.relu else LOWEST, HIGHEST)


def _convolved(call: Call, read: Sequence[Integers], inputs: Sequence[Tensor], output: Tensor) -> Integers:
    value, weight, bias = read
    depthwise = call.operator is Operator.DEPTHWISE
    place, size = call.placement, (value.shape[1], value.shape[2])
    # PyTorch's order: (outputs, inputs, height, width).
    kernel = weight.transpose(3, 0, 1, 2) if depthwise else weight.transpose(0, 3, 1, 2)
    image = torch.from_numpy((value - inputs[0].zero_point).transpose(0, 3, 1, 2).copy())
    # Whole numbers add up exactly while every sum fits the mantissa; float32 is several times as fast.
    bound = int(image.abs().max()) * int(np.abs(kernel).reshape(len(kernel), -1).sum(axis=1).max())
    dtype = torch.float32 if bound < _EXACT_IN_FLOAT32 else torch.float64
    (top, bottom), (left, right) = (_around(size[axis], place, axis) for axis in range(2))
    sums = functional.conv2d(
        functional.pad(image.to(dtype), (left, right, top, bottom)),
        torch.from_numpy(kernel.copy()).to(dtype),
        stride=place.stride,
        dilation=place.dilation,
        groups=value.shape[3] if depthwise else 1,
    )
    whole = sums.numpy().transpose(0, 2, 3, 1).astype(np.int64) + bias
    scales = inputs[1].scale
    if scales is None:
        raise ValueError(f"{inputs[1].name}: expected weights with a scale")
    return Multiplier.of(inputs[0].step * scales.astype(np.float64) / output.step).times(whole)


def _around(size: int, place: Placement, axis: int) -> tuple[int, int]:
    """Return the zeros that SAME puts before and behind an axis."""
    if not place.same:
        return 0, 0
    stride, reach = place.stride[axis], (place.kernel[axis] - 1) * place.dilation[axis] + 1
    added = max((-(-size // stride) - 1) * stride + reach - size, 0)
    return added // 2, added - added // 2


def _sum(read: Sequence[Integers], inputs: Sequence[Tensor], output: Tensor) -> Integers:
    widest = 2 * max(tensor.step for tensor in inputs)
    parts = [
        Multiplier.of(tensor.step / widest).times((value - tensor.zero_point) << _ADD_SHIFT)
        for value, tensor in zip(read, inputs, strict=True)
    ]
    return Multiplier.of(widest / (2**_ADD_SHIFT * output.step)).times(parts[0] + parts[1])


def _mean(value: Integers, read: Tensor, output: Tensor) -> Integers:
    count = value.shape[1] * value.shape[2]
    sums = (value - read.zero_point).sum(axis=(1, 2), keepdims=True)
    scale = Multiplier.of(read.step / output.step)
    # The division by the count goes into the multiplier, which is made as fine for it as 32 bits allow.
    finer = min(int(count).bit_length() - 1, 32, 31 + int(scale.shift))
    fraction = (scale.fraction << finer) // count
    return Multiplier(fraction=fraction, shift=scale.shift - finer).times(sums)


def _pooled(value: Integers, place: Placement) -> Integers:
    """Average whole windows and those cut short, as int8 integers with their zero point in them."""
    _, height, width, _ = value.shape
    rows = [slice(start, min(start + 2, height)) for start in range(0, height, 2)]
    columns = [slice(start, min(start + 2, width)) for start in range(0, width, 2)]
    if place.kernel != (2, 2) or place.stride != (2, 2):
        raise ValueError(f"expected windows of 2x2, found {place}")
    windows = [[value[:, row, column] for column in columns] for row in rows]
    return np.stack([np.stack([_average(part) for part in line], axis=1) for line in windows], axis=1)


def _average(window: Integers) -> Integers:
    count = window.shape[1] * window.shape[2]
    sums = window.sum(axis=(1, 2))
    return np.asarray(np.sign(sums) * ((np.abs(sums) + count // 2) // count))
