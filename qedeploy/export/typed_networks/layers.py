"""The layers of a prepared network that such a runtime has integers for, each as a Layer of ours and its precisions."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from qedeploy.export.onnx_networks.editor import GraphEditor
from qedeploy.export.onnx_networks.graph_layers import UNROUNDED
from qedeploy.export.onnx_networks.integer_layers import IntegerLayer, integer_layers
from qedeploy.network.layers import Layer
from qedeploy.network.structure import Bits
from qedeploy.profiles.profile import Profile
from qedeploy.runtimes.typed import TypedGraphs

FLOAT16, W8A8, W4A16 = "float16", "W8A8", "W4A16"
BITS = {
    FLOAT16: UNROUNDED, W8A8: Bits(weight=8, activation=8), W4A16: Bits(weight=4, activation=16)
}  # fmt: skip
"""Nominal widths of each precision."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TypedLayer:
    """A layer, `found` in the graph as the node `node`, and the precisions that it may have beside float16.

    `block` is the size of the blocks of its 4-bit weights, None where it has none.
    """

    found: IntegerLayer
    node: NodeProto
    precisions: tuple[str, ...]
    block: int | None

    @property
    def name(self) -> str:
        """Its name in the file."""
        return self.found.name

    @property
    def layer(self) -> Layer:
        """What it is, in float16."""
        return self.found.use.layer

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
        layer = item.use.layer
        offered = profile.pairs(layer.category)
        block = typed.block_size(dataclasses.replace(layer, bits=BITS[W4A16]))
        fits = {W8A8: True, W4A16: block is not None}
        precisions = tuple(name for name, fit in fits.items() if fit and BITS[name] in offered)
        if precisions:
            found[item.name] = TypedLayer(
                found=item,
                node=nodes[item.name],
                precisions=precisions,
                block=block,
            )
    return found
