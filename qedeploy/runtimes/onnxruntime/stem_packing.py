"""A convolution of stride 2 over few channels, as one over four columns at a time: the same sums, a faster kernel.

A runtime that multiplies four channels at once and writes sixteen wastes most of that on an image's three. With
channels last, four neighbouring columns of `c` channels are the memory of one column of `4 c`, and two columns of
output that of one column with twice the channels: both views are free, and the kernel sees twelve channels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from qedeploy.network.layers import Dimensions, Layer
from qedeploy.qdq.fold import FoldedLayer
from qedeploy.qdq.graph_builder import GraphBuilder

COLUMNS_IN = 4
COLUMNS_OUT = 2


def packs(layer: Layer) -> bool:
    """Return whether `layer` can be computed on packed columns: stride 2, one group, a width of whole packs."""
    strides = layer.window.same and layer.stride == COLUMNS_IN // COLUMNS_OUT
    return strides and layer.groups == 1 and layer.input[2] % COLUMNS_IN == 0


def packed_layer(layer: FoldedLayer) -> FoldedLayer:
    """Return `layer`, weight (out, in, k, k), for packed columns: (2 out, 4 in, k, taps), columns before channels."""
    out_channels, in_channels, kernel, _ = layer.weight.shape
    before, after = _reach(kernel)
    shape = (COLUMNS_OUT, out_channels, COLUMNS_IN, in_channels, kernel, before + after + 1)
    weight = np.zeros(shape, layer.weight.dtype)
    for output in range(COLUMNS_OUT):
        for column in range(kernel):
            # Distance of the column read, from the first column of the pack that the output belongs to.
            pack, inner = divmod(2 * output - kernel // 2 + column, COLUMNS_IN)
            weight[output, :, inner, :, :, pack + before] = layer.weight[:, :, :, column]
    return FoldedLayer(
        weight=weight.reshape(COLUMNS_OUT * out_channels, COLUMNS_IN * in_channels, kernel, -1),
        scale=None if layer.scale is None else np.tile(layer.scale, COLUMNS_OUT),
        bias=np.tile(layer.bias, COLUMNS_OUT),
    )


def packed_attributes(kernel: int) -> dict[str, Any]:
    """Return the attributes of the Conv over packed columns that stands for one of size `kernel` and stride 2."""
    before, after = _reach(kernel)
    padding = kernel // 2
    return {
        "kernel_shape": [kernel, before + after + 1],
        "strides": [2, 1],
        "pads": [padding, before, padding, after],
    }


def pack_columns(graph: GraphBuilder, value: str, name: str, sizes: Dimensions) -> str:
    """Add nodes that view an NCHW value of `sizes`, (channels, height, width), as packed columns, four for one."""
    channels, height, width = sizes
    return _view(graph, value, f"{name}.pack", [0, height, width // COLUMNS_IN, COLUMNS_IN * channels])


def unpack_columns(graph: GraphBuilder, value: str, name: str, sizes: Dimensions) -> str:
    """Add nodes that view packed output, two columns in one, as an NCHW value of `sizes`, (channels, height, width)."""
    channels, height, width = sizes
    return _view(graph, value, f"{name}.unpack", [0, height, width, channels])


def _view(graph: GraphBuilder, value: str, name: str, shape: list[int]) -> str:
    # Between channels-last kernels the runtime cancels both Transposes, and the Reshape moves nothing.
    last = graph.node("Transpose", [value], f"{name}.channels_last", perm=[0, 2, 3, 1])
    target = graph.constant(f"{name}.shape", np.array(shape, np.int64))
    viewed = graph.node("Reshape", [last, target], f"{name}.reshape")
    return graph.node("Transpose", [viewed], f"{name}.channels_first", perm=[0, 3, 1, 2])


def _reach(kernel: int) -> tuple[int, int]:
    """Return how many packs a kernel reaches to the left and to the right of the pack of its outputs."""
    padding = kernel // 2
    return -(-padding // COLUMNS_IN), (padding + COLUMNS_OUT) // COLUMNS_IN
