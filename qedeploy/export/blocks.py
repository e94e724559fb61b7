"""A convolution of stride 2 as one of stride 1 over blocks of 2x2 pixels (ONNX SpaceToDepth): the same sums.

A runtime that multiplies four or sixteen channels at a time wastes most of that on an image's three; as blocks they
are twelve, and the kernel loses half its width and height.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from qedeploy.network.layers import Layer

BLOCK = 2


def fits_blocks(layer: Layer) -> bool:
    """Return whether `layer` can be computed on blocks: stride 2, one group, an even input size."""
    return layer.stride == BLOCK and layer.groups == 1 and layer.input_size % BLOCK == 0


def block_weight(weight: np.ndarray) -> np.ndarray:
    """Return `weight` (out, in, k, k) for blocks: (out, 4 in, t, t), channels in SpaceToDepth's order."""
    out_channels, in_channels, kernel, _ = weight.shape
    before, after = _reach(kernel)
    taps = before + after + 1
    blocks = np.zeros((out_channels, BLOCK, BLOCK, in_channels, taps, taps), weight.dtype)
    for row in range(kernel):
        block_row, inner_row = divmod(row - kernel // 2, BLOCK)
        for column in range(kernel):
            block_column, inner_column = divmod(column - kernel // 2, BLOCK)
            blocks[:, inner_row, inner_column, :, block_row + before, block_column + before] = weight[:, :, row, column]
    return blocks.reshape(out_channels, BLOCK * BLOCK * in_channels, taps, taps)


def block_attributes(kernel: int) -> dict[str, Any]:
    """Return the attributes of the Conv over blocks that stands for one of size `kernel` and stride 2."""
    before, after = _reach(kernel)
    return {"kernel_shape": [before + after + 1] * 2, "strides": [1, 1], "pads": [before, before, after, after]}


def _reach(kernel: int) -> tuple[int, int]:
    # A kernel reaches kernel // 2 pixels to both sides of its centre, which is the first pixel of a block.
    return -(-(kernel // 2) // BLOCK), (kernel // 2) // BLOCK
