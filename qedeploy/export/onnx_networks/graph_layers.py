"""An ONNX operator with weights as a Layer of ours: its kind, sizes and window, and how often a query computes it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from onnx import NodeProto

from qedeploy.export.onnx_networks.editor import attribute
from qedeploy.network.layer_use import LayerUse
from qedeploy.network.layers import Dimensions, Layer, LayerKind
from qedeploy.network.structure import Bits
from qedeploy.network.window import Window

UNROUNDED = Bits(weight=16, activation=16)
"""Widths of a layer that is not quantized."""


def layer_use(
    node: NodeProto, name: str, weight: Dimensions, read: Dimensions, made: Dimensions, bits: Bits = UNROUNDED
) -> LayerUse | None:
    """Return what `node` computes with weights of shape `weight` of what it `read` and `made`, all in ONNX's sizes.

    None where its attributes are no window. A convolution along one axis is one of height 1; of one along three, each
    slice of the result is a query that reads the kernel's slices as channels. A transposed convolution has the weights
    and products of the plain one that goes back, from what it makes to what it reads, and is that one.
    """
    if "Conv" not in node.op_type:
        return _product(name, weight, made, bits)
    if node.op_type == "ConvTranspose":
        read, made = made, read
    groups = int(attribute(node, "group", 1))
    kernel, before, after = weight[2:], read[2:], made[2:]
    if not kernel or len(before) != len(kernel) or len(after) != len(kernel):
        return None
    stride, dilation = (tuple(attribute(node, item, (1,) * len(kernel))) for item in ("strides", "dilations"))
    start, end = _padding(node, kernel, stride, dilation, before, after)
    slices = math.prod(kernel[:-2])
    try:
        window = Window(
            kernel=_pair(kernel),
            stride=_pair(stride),
            dilation=_pair(dilation),
            padding=(*_pair(start, 0), *_pair(end, 0)),
        )
    except ValueError:
        return None
    layer = Layer(
        name=name,
        kind=_kind(weight, groups),
        input=(weight[1] * groups * slices, *_pair(before)),
        out_channels=weight[0],
        bits=bits,
        window=window,
        groups=groups,
    )
    return LayerUse(layer=layer, queries=made[0] * math.prod(after[:-2]))


def _product(name: str, weight: Dimensions, made: Dimensions, bits: Bits) -> LayerUse:
    """Return a matrix product; one with a matrix for each of several is one product with all of them."""
    columns = made[-1]
    count = math.prod(weight)
    matrices = math.prod(weight[:-2])
    inputs = count // columns // matrices
    layer = Layer(name=name, kind=LayerKind.LINEAR, input=(inputs,), out_channels=columns * matrices, bits=bits)
    return LayerUse(layer=layer, queries=math.prod(made) // columns // matrices)


def _kind(weight: Dimensions, groups: int) -> LayerKind:
    if groups > 1 and weight[1] == 1:
        return LayerKind.DEPTHWISE
    return LayerKind.POINTWISE if set(weight[2:]) == {1} and groups == 1 else LayerKind.CONVOLUTION


def _padding(
    node: NodeProto,
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    before: Sequence[int],
    after: Sequence[int],
) -> tuple[Sequence[int], Sequence[int]]:
    """Return pixels of padding at the start and at the end of each axis."""
    automatic = attribute(node, "auto_pad", b"NOTSET")
    if automatic in {b"NOTSET", b"VALID"}:
        pads = tuple(attribute(node, "pads", ())) or (0,) * (2 * len(kernel))
        return pads[: len(kernel)], pads[len(kernel) :]
    missing = [
        max(0, (out - 1) * step + (size - 1) * apart + 1 - pixels)
        for pixels, out, size, step, apart in zip(before, after, kernel, stride, dilation, strict=True)
    ]
    less, more = [pixels // 2 for pixels in missing], [pixels - pixels // 2 for pixels in missing]
    return (less, more) if automatic == b"SAME_UPPER" else (more, less)


def _pair(sizes: Sequence[int], fill: int = 1) -> tuple[int, int]:
    """Return the last two of `sizes`, height and width, with `fill` before where there is one."""
    height, width = (fill, fill, *sizes)[-2:]
    return int(height), int(width)
