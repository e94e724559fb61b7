"""What kernels ask of the arena beside their tensors, on a Cortex-M with the DSP extension.

Sources: CMSIS-NN, arm_convolve_get_buffer_sizes_s8.c and arm_depthwise_conv_get_buffer_sizes_s8.c, for compilers other
than Arm's own; LiteRT for Microcontrollers, kernels/reduce_common.cc.
"""

from __future__ import annotations

import math

from qedeploy.runtimes.litert.program import Call, Operator, Program

_INT16, _INT32 = 2, 4


def kernel_buffer(program: Program, call: Call) -> int:
    """Return the bytes that the kernel of `call` works in."""
    match call.operator:
        case Operator.CONVOLUTION:
            _, height, width, channels = program.tensors[call.inputs[1]].shape
            if (height, width) == (1, 1):
                return 0
            # Two columns of the input, widened to 16 bits and rounded up to four values.
            return 2 * (-(-height * width * channels // 4) * 4) * _INT16
        case Operator.DEPTHWISE:
            # One column; kernels of 3x3 may do without, by version.
            _, height, width, channels = program.tensors[call.inputs[1]].shape
            return height * width * channels * _INT16
        case Operator.MEAN:
            return math.prod(program.tensors[call.output].shape) * _INT32
        case Operator.AVERAGE_POOL:
            return program.tensors[call.inputs[0]].shape[3] * _INT32
        case _:
            return 0
