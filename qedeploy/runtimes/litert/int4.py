"""Weights in int4: which layers have them, and how two of them lie in a byte.

Kernels for int4 weights beside int8 activations: CMSIS-NN's arm_convolve_wrapper_s4 and arm_depthwise_conv_wrapper_s4,
which LiteRT for Microcontrollers calls, and LiteRT's reference kernels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qedeploy.network.structure import Bits

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

HIGHEST_INT4 = 7
"""The largest integer of the type; -8 is used where a network has it."""

_WEIGHT_BITS, _ACTIVATION_BITS = 4, 8


def held_in_int4(bits: Bits) -> bool:
    """Return whether the weights of a layer are held in int4.

    Biases lie on the grid of the products, and there is no room in int4 to make that finer: beside activations of fewer
    than 8 bits it would be too coarse for them, so that those weights stay in int8.
    """
    return bits.weight <= _WEIGHT_BITS and bits.activation == _ACTIVATION_BITS


def packed(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Return int4 values two in a byte, the first in its lower half, as the schema has them."""
    import numpy as np

    flat = np.zeros(values.size + values.size % 2, np.int8)
    flat[: values.size] = values.reshape(-1)
    return ((flat[0::2] & 0xF) | ((flat[1::2] & 0xF) << 4)).astype(np.uint8)
