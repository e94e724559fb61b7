"""What kernels ask of the arena beside their tensors, on a Cortex-M with the DSP extension.

Sources: CMSIS-NN, arm_convolve_get_buffer_sizes_s8.c and arm_depthwise_conv_get_buffer_sizes_s8.c, for compilers other
than Arm's own; LiteRT for Microcontrollers, kernels/reduce_common.cc.
"""

from __future__ import annotations

import math
from typing import Any, TypeVar

from numpy.typing import NDArray

from qedeploy.runtimes.litert.program import Call, Operator, Program

Size = TypeVar("Size", int, NDArray[Any])

_INT16, _INT32 = 2, 4


def convolution(height: Size, width: Size, channels: Size) -> Size:
    """Return the bytes in which a convolution works whose kernel is larger than one pixel, of `channels` inputs.

    Two columns of the input, widened to 16 bits and rounded up to four values.
    """
    found: Size = 2 * (-(-height * width * channels // 4) * 4) * _INT16
    return found


def depthwise(height: Size, width: Size, channels: Size) -> Size:
    """Return the bytes in which a depthwise convolution works: one column; of 3x3 it may do without, by version."""
    found: Size = height * width * channels * _INT16
    return found


def sums(channels: Size) -> Size:
    """Return the bytes of a sum for each channel."""
    found: Size = channels * _INT32
    return found


def kernel_buffer(program: Program, call: Call) -> int:
    """Return the bytes that the kernel of `call` works in."""
    match call.operator:
        case Operator.CONVOLUTION:
            _, height, width, channels = program.tensors[call.inputs[1]].shape
            return 0 if (height, width) == (1, 1) else convolution(height, width, channels)
        case Operator.DEPTHWISE:
            _, height, width, channels = program.tensors[call.inputs[1]].shape
            return depthwise(height, width, channels)
        case Operator.MEAN:
            return sums(math.prod(program.tensors[call.output].shape))
        case Operator.AVERAGE_POOL:
            return sums(program.tensors[call.inputs[0]].shape[3])
        case _:
            return 0


def convolutions(program: Program) -> list[Call]:
    """Return the calls of kernels that multiply weights."""
    return [call for call in program.calls if call.operator in (Operator.CONVOLUTION, Operator.DEPTHWISE)]


def multiplied_channels(program: Program) -> int:
    """Return how many output channels there are that a kernel keeps a multiplier for."""
    return sum(program.tensors[call.output].shape[3] for call in convolutions(program))
