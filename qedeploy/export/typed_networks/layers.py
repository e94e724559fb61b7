"""The layers of a prepared network that such a runtime has integers for, each as a Layer of ours and its precisions."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from qedeploy.export.onnx_networks.editor import GraphEditor, attribute
from qedeploy.export.onnx_networks.integer_layers import IntegerLayer, integer_layers
from qedeploy.network.layers import Layer, LayerKind
from qedeploy.network.structure import Bits
from qedeploy.network.window import Window
from qedeploy.profiles.profile import Profile
from qedeploy.runtimes.typed import TypedGraphs

FLOAT16, W8A8, W4A16 = "float16", "W8A8", "W4A16"
BITS = {
    FLOAT16: Bits(weight=16, activation=16), W8A8: Bits(weight=8, activation=8), W4A16: Bits(weight=4, activation=16)
}  # fmt: skip
"""Nominal widths of each precision."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TypedLayer:
    """A layer: what the graph has of it (`found`), what it is (`layer`, in float16), and the precisions it may have.

    `queries` are how often one query computes it: a matrix product does so for every row. `block` is the size of the
    blocks of its 4-bit weights, None where it has none.
    """

    found: IntegerLayer
    layer: Layer
    node: NodeProto
    queries: int
    precisions: tuple[str, ...]
    block: int | None

    @property
    def name(self) -> str:
        """Its name in the file."""
        return self.found.name

    @property
    def matrix(self) -> NDArray[np.float32]:
        """Its weights as a matrix (inputs, outputs) that is multiplied from the right."""
        weight = self.found.weight
        return weight if self.found.axis == 1 else weight.reshape(weight.shape[0], -1).T

    def size_bytes(self, precision: str) -> float:
        """Return the bytes of its weights and their scales (2 bytes each)."""
        count, scales = self.found.weight.size, 0
        if precision == W8A8:
            scales = self.found.channels
        elif precision == W4A16 and self.block is not None:
            scales = count // self.block
        return count * BITS[precision].weight / 8 + 2 * scales


def typed_layers(editor: GraphEditor, profile: Profile, typed: TypedGraphs) -> dict[str, TypedLayer]:
    """Return by name the layers that `profile` runs in W8A8 or W4A16, in execution order."""
    nodes = {node.name: node for node in editor.nodes}
    found = {}
    for item in integer_layers(editor):
        layer = _layer(editor, item, nodes[item.name])
        if layer is None:
            continue
        offered = profile.pairs(layer.category)
        block = typed.block_size(dataclasses.replace(layer, bits=BITS[W4A16]))
        fits = {W8A8: True, W4A16: block is not None}
        precisions = tuple(name for name, fit in fits.items() if fit and BITS[name] in offered)
        if precisions:
            found[item.name] = TypedLayer(
                found=item,
                layer=layer,
                node=nodes[item.name],
                queries=item.macs // layer.macs,
                precisions=precisions,
                block=block,
            )
    return found


def _layer(editor: GraphEditor, found: IntegerLayer, node: NodeProto) -> Layer | None:
    read, made = editor.shape(found.source), editor.shape(node.output[0])
    if read is None or made is None:
        return None
    if found.operator != "Conv":
        return Layer(
            name=found.name,
            kind=LayerKind.LINEAR,
            input=(found.weight.size // found.channels,),
            out_channels=found.channels,
            bits=BITS[FLOAT16],
        )
    groups = int(attribute(node, "group", 1))
    window = _window(node, found.weight.shape[2:], read[2:], made[2:])
    return Layer(
        name=found.name,
        kind=_kind(found.weight.shape, groups),
        input=tuple(read[1:]),
        out_channels=found.channels,
        bits=BITS[FLOAT16],
        window=window,
        groups=groups,
    )


def _kind(weight: tuple[int, ...], groups: int) -> LayerKind:
    if groups > 1 and weight[1] == 1:
        return LayerKind.DEPTHWISE
    return LayerKind.POINTWISE if weight[2:] == (1, 1) and groups == 1 else LayerKind.CONVOLUTION


def _window(node: NodeProto, kernel: tuple[int, ...], read: tuple[int, ...], made: tuple[int, ...]) -> Window:
    stride, dilation = (tuple(attribute(node, name, (1, 1))) for name in ("strides", "dilations"))
    automatic = attribute(node, "auto_pad", b"NOTSET")
    if automatic in {b"NOTSET", b"VALID"}:
        padding = tuple(attribute(node, "pads", (0, 0, 0, 0)))
    else:
        missing = [
            max(0, (out - 1) * step + (size - 1) * apart + 1 - pixels)
            for pixels, out, size, step, apart in zip(read, made, kernel, stride, dilation, strict=True)
        ]
        less, more = [size // 2 for size in missing], [size - size // 2 for size in missing]
        padding = (*less, *more) if automatic == b"SAME_UPPER" else (*more, *less)
    return Window(kernel=_pair(kernel), stride=_pair(stride), dilation=_pair(dilation), padding=_four(padding))


def _pair(sizes: tuple[int, ...]) -> tuple[int, int]:
    height, width = sizes
    return int(height), int(width)


def _four(sizes: tuple[int, ...]) -> tuple[int, int, int, int]:
    top, left, bottom, right = sizes
    return int(top), int(left), int(bottom), int(right)
