"""The layers of an ONNX file of any maker, as it is: what they cost, whether they are quantized, and whose a node is.

Nothing is rewritten: float files, QDQ files and files of integer operators (QLinearConv, ConvInteger) are read alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto

from qedeploy.export.onnx_networks.calibration import exposing
from qedeploy.export.onnx_networks.editor import GraphEditor, attribute
from qedeploy.export.onnx_networks.equality import trial_feeds
from qedeploy.export.onnx_networks.file import read_model
from qedeploy.export.onnx_networks.graph_layers import UNROUNDED, layer_use
from qedeploy.export.onnx_networks.sizes import fix_sizes
from qedeploy.network.layer_use import LayerUse
from qedeploy.network.structure import Bits
from qedeploy.runtimes.registry import reference

_WEIGHT_INPUTS = {
    "Conv": 1, "ConvTranspose": 1, "Gemm": 1, "MatMul": 1, "QLinearConv": 3, "QLinearMatMul": 3, "ConvInteger": 1,
    "MatMulInteger": 1, "QGemm": 3, "MatMulIntegerToFloat": 1, "DynamicQuantizeMatMul": 1, "FusedConv": 1,
    "FusedGemm": 1,
}  # fmt: skip
"""Operators that compute layers, and where each reads its weights."""

_FLOAT_OPERATORS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "FusedConv", "FusedGemm"})
_FUSED_BEHIND = frozenset(
    {
        "BatchNormalization", "Relu", "Clip", "LeakyRelu", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Add", "Mul",
        "Sub", "Div", "QuantizeLinear", "DequantizeLinear", "Identity", "Cast", "Reshape",
    }
)  # fmt: skip
"""Operators that runtimes take into the layer before them: the fused node then goes by what the last of them makes."""

_IMPLIED = ("Relu", "Clip")

_QUANTIZED_BITS = Bits(weight=8, activation=8)
"""Widths of a quantized layer of a file that says nothing of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileLayer:
    """A layer of a file as a query `use`s it; where it is quantized its widths are of 8 bits.

    `quantized` says that its weights are integers in the file. `obstacle` is what in the graph keeps a quantized layer
    out of integer kernels, as far as the graph shows.
    """

    use: LayerUse
    quantized: bool
    obstacle: str | None

    @property
    def name(self) -> str:
        """Its name in the file."""
        return self.use.layer.name


@dataclass(frozen=True, slots=True, kw_only=True)
class FileLayers:
    """The layers in execution order, and the layer that each name of a node or value belongs to."""

    layers: tuple[FileLayer, ...]
    owners: Mapping[str, str]

    def owner(self, name: str) -> str | None:
        """Return the layer that a fused node of that name computes, None for no layer."""
        return self.owners.get(name) or self.owners.get(name.split("/", maxsplit=1)[0])

    @staticmethod
    def computes(operator: str) -> bool:
        """Return whether a node of that type computes a layer."""
        return operator in _WEIGHT_INPUTS


def read_layers(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> FileLayers:
    """Return the layers of the file in `path` with its inputs in `shapes`; those of unknown sizes are left out.

    Raises UserError for a file that cannot be read.
    """
    return layers_of(fix_sizes(read_model(path), shapes))


def layers_of(model: onnx.ModelProto) -> FileLayers:
    """Return the layers of a model whose input sizes are fixed."""
    editor = GraphEditor(_with_initializers(model))
    shapes = _Shapes(model, editor)
    found: list[FileLayer] = []
    owners: dict[str, str] = {}
    for node in editor.nodes:
        layer = _layer(editor, shapes, node)
        if layer is not None:
            found.append(layer)
            owners |= dict.fromkeys((layer.name, *node.output), layer.name)
        elif node.op_type in _FUSED_BEHIND:
            # Of an addition the later branch: that is the one whose node can take the addition in.
            known = [owners[value] for value in node.input if value in owners]
            order = {item.name: index for index, item in enumerate(found)}
            if known:
                owners |= dict.fromkeys(node.output, max(known, key=order.__getitem__))
    return FileLayers(layers=tuple(found), owners=owners)


class _Shapes:
    """Shapes as they are inferred, or else as one run of the network makes them."""

    def __init__(self, model: onnx.ModelProto, editor: GraphEditor) -> None:
        self._model = model
        self._editor = editor
        self._measured: Mapping[str, tuple[int, ...]] | None = None

    def of(self, value: str) -> tuple[int, ...] | None:
        """Return the shape of `value`, None where nothing says it."""
        known = self._editor.shape(value)
        if known is not None:
            return known
        if self._measured is None:
            self._measured = self._measure()
        return self._measured.get(value)

    def _measure(self) -> dict[str, tuple[int, ...]]:
        wanted = {
            value
            for node in self._editor.nodes
            if node.op_type in _WEIGHT_INPUTS
            for value in (node.input[0], node.output[0])
            if self._editor.shape(value) is None
        }
        try:
            evaluate = reference().evaluator(exposing(self._model, sorted(wanted)).SerializeToString(), False)
            outputs = evaluate(trial_feeds(self._model)[0])
        except Exception:  # a runtime's exceptions need have no common base; what cannot run has no sizes to tell
            return {}
        return {value: outputs[value].shape for value in wanted if value in outputs}


def _with_initializers(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return `model` with the tensors of its Constant nodes as initializers: some tools keep weights in such nodes."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    nodes = list(changed.graph.node)
    del changed.graph.node[:]
    for node in nodes:
        tensor = attribute(node, "value") if node.op_type == "Constant" else None
        if isinstance(tensor, onnx.TensorProto):
            initializer = changed.graph.initializer.add()
            initializer.CopyFrom(tensor)
            initializer.name = node.output[0]
        else:
            changed.graph.node.append(node)
    return changed


def _layer(editor: GraphEditor, shapes: _Shapes, node: NodeProto) -> FileLayer | None:
    place = _WEIGHT_INPUTS.get(node.op_type)
    if place is None or len(node.input) <= place:
        return None
    stored, quantized = _stored_weight(editor, node.input[place])
    weight = editor.shape(stored) if stored is not None else None
    read, made = shapes.of(node.input[0]), shapes.of(node.output[0])
    if weight is None or read is None or made is None or len(weight) < 2:
        return None
    quantized |= node.op_type not in _FLOAT_OPERATORS
    bits = _QUANTIZED_BITS if quantized else UNROUNDED
    use = layer_use(node, node.name or node.output[0], weight, read, made, bits)
    if use is None:
        return None
    return FileLayer(
        use=use,
        quantized=quantized,
        obstacle=_obstacle(editor, node) if quantized and node.op_type in _FLOAT_OPERATORS else None,
    )


def _stored_weight(editor: GraphEditor, value: str) -> tuple[str | None, bool]:
    """Return the constant that weights are made of, None where they are computed, and whether it holds integers."""
    quantized = False
    while editor.constant(value) is None:
        node = editor.producer(value)
        if node is None or node.op_type not in {"DequantizeLinear", "QuantizeLinear", "Transpose", "Identity", "Cast"}:
            return None, False
        quantized |= node.op_type == "DequantizeLinear"
        value = node.input[0]
    return value, quantized


def _obstacle(editor: GraphEditor, node: NodeProto) -> str | None:
    """Return what keeps a float operator with dequantized weights out of integer kernels, None for nothing."""
    source = editor.producer(node.input[0])
    if source is None or source.op_type != "DequantizeLinear":
        return "its input is not quantized: expected QuantizeLinear and DequantizeLinear before it"
    value, between = node.output[0], None
    while True:
        following = editor.sole_consumer(value)
        if following is None:
            return (
                "its result is returned or read by several in floating point: expected QuantizeLinear alone behind it"
            )
        if following.op_type == "QuantizeLinear":
            return _activation_obstacle(editor, between, following)
        if following.op_type not in _IMPLIED or between is not None:
            return f"{following.op_type} reads its result before it is quantized: expected QuantizeLinear behind it"
        value, between = following.output[0], following


def _activation_obstacle(editor: GraphEditor, between: NodeProto | None, quantize: NodeProto) -> str | None:
    zero = editor.constant(quantize.input[2]) if len(quantize.input) > 2 and quantize.input[2] else None
    if zero is None or zero.size != 1:
        return None
    number = int(zero.reshape(-1)[0])
    if between is not None and number != (-128 if zero.dtype == np.int8 else 0):
        return (
            f"its {between.op_type} is not implied by zero point {number} of {zero.dtype} behind it: expected uint8 "
            "with zero point 0"
        )
    # Kernels of x86 multiply unsigned by signed: its runtimes shift some int8 activations to uint8, not all.
    return "its activations are int8: expected uint8" if zero.dtype == np.int8 else None
