"""A prepared network with some layers in INT8 or with INT4 weights, in the QDQ form that typed runtimes fuse.

A layer in W8A8 reads `DequantizeLinear(QuantizeLinear(value))` and dequantized weights, its bias and its result are in
floating point: the runtime puts the next layer's rounding into its kernel. Of an addition behind such a layer only the
shortcut is quantized. A layer in W4A16 is a product with a matrix of 4-bit weights on the right, in floating point.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from qedeploy.export.onnx_networks.editor import GraphEditor, all_inputs
from qedeploy.export.typed_networks.layers import W4A16, W8A8, TypedLayer
from qedeploy.export.typed_networks.symmetric import (
    IntegerWeights,
    RoundScale,
    SymmetricGrid,
    block_weights,
    channel_weights,
)

_IR_VERSION = 10
"""The first with 4-bit integers."""

_POOLS = frozenset({"AveragePool", "MaxPool"})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TypedModel:
    """A written model in float32: what its own type will be, it gets at last.

    `grids` are those of the quantized values and `integers` the tensors that hold these; `weights` those of each layer
    that is not in float16, `shortcuts` the values that additions read quantized.
    """

    model: onnx.ModelProto
    layers: Mapping[str, TypedLayer]
    weights: Mapping[str, IntegerWeights]
    grids: Mapping[str, SymmetricGrid]
    integers: Mapping[str, str]
    shortcuts: tuple[str, ...]


def write_typed(
    model: onnx.ModelProto,
    editor: GraphEditor,
    chosen: Mapping[str, tuple[TypedLayer, str]],
    grids: Mapping[str, SymmetricGrid],
    round_scale: RoundScale,
) -> TypedModel:
    """Return `model`, which `editor` shows, with the layers of `chosen` in the precisions beside them.

    `grids` holds one for what each layer in W8A8 reads, and for what additions behind them read.
    """
    writer = _Writer(editor, chosen, grids, round_scale)
    for node in editor.nodes:
        writer.add(node)
    return TypedModel(
        model=writer.model(model),
        layers={name: layer for name, (layer, _) in chosen.items()},
        weights=writer.weights,
        grids={value: grids[value] for value in writer.integers},
        integers=writer.integers,
        shortcuts=tuple(dict.fromkeys(writer.shortcuts.values())),
    )


def shortcut_values(editor: GraphEditor) -> set[str]:
    """Return the values that additions of images read: those may need a grid."""
    return {
        value
        for node in editor.nodes
        if node.op_type == "Add"
        for value in editor.computed_inputs(node)
        if editor.is_float(value) and len(editor.shape(value) or ()) == 4
    }


class _Writer:
    def __init__(
        self,
        editor: GraphEditor,
        chosen: Mapping[str, tuple[TypedLayer, str]],
        grids: Mapping[str, SymmetricGrid],
        round_scale: RoundScale,
    ) -> None:
        self._editor = editor
        self._chosen = chosen
        self._grids = grids
        self._round_scale = round_scale
        self._nodes: list[NodeProto] = []
        self._tensors: dict[str, TensorProto] = {}
        self._names: dict[str, str] = {}
        self.integers: dict[str, str] = {}
        self.weights: dict[str, IntegerWeights] = {}
        self.shortcuts = self._shortcuts()

    def add(self, node: NodeProto) -> None:
        """Add `node` in the precision of its layer, or as it is."""
        layer, precision = self._chosen.get(node.name, (None, ""))
        if layer is not None and precision == W4A16:
            self._add_product(node, layer)
            return
        copy = NodeProto()
        copy.CopyFrom(node)
        if layer is not None and precision == W8A8:
            copy.input[0] = self._dequantized(layer.found.source)
            copy.input[1] = self._channel_weight(layer)
            if layer.found.bias is not None:
                copy.input[2] = self._bias(layer.name, layer.found.bias)
        elif node.name in self.shortcuts:
            value = self.shortcuts[node.name]
            copy.input[list(node.input).index(value)] = self._dequantized(value)
        self._nodes.append(copy)

    def model(self, original: onnx.ModelProto) -> onnx.ModelProto:
        """Return what was added as a model with the inputs and outputs of `original`."""
        model = onnx.ModelProto()
        model.CopyFrom(original)
        read = {name for node in self._nodes for name in all_inputs(node)}
        kept = [item for item in original.graph.initializer if item.name in read]
        del model.graph.node[:], model.graph.initializer[:], model.graph.value_info[:]
        model.graph.node.extend(self._nodes)
        model.graph.initializer.extend([*kept, *self._tensors.values()])
        model.ir_version = max(model.ir_version, _IR_VERSION)
        return model

    def _shortcuts(self) -> dict[str, str]:
        """Return for each addition behind a layer in W8A8 the value that it reads quantized.

        That is what another such layer reads, makes, or what was pooled: the layer's kernel then adds it as it is.
        """
        in_int8 = {layer.node.output[0]: layer for layer, precision in self._chosen.values() if precision == W8A8}
        read = {layer.found.source for layer in in_int8.values()}
        found = {}
        for node in self._editor.nodes:
            values = self._editor.computed_inputs(node)
            if node.op_type != "Add" or len(values) != 2 or values[0] == values[1]:
                continue
            for branch, shortcut in (values, values[::-1]):
                if branch not in in_int8 or self._editor.sole_consumer(branch) is not node:
                    continue
                maker = self._editor.producer(shortcut)
                pooled = maker is not None and maker.op_type in _POOLS and maker.input[0] in read
                if shortcut in self._grids and (shortcut in read or shortcut in in_int8 or pooled):
                    found[node.name] = shortcut
                    break
        return found

    def _dequantized(self, value: str) -> str:
        """Return the name of `value` rounded to its grid, adding what rounds it where that is not there yet."""
        name = self._name(f"{value}.dequantized")
        if value in self.integers:
            return name
        scale = self._constant(f"{value}.scale", np.float32(self._grids[value].scale))
        zero = self._constant("zero_point", np.int8(0))
        integers = self._name(f"{value}.quantized")
        self._node("QuantizeLinear", [value, scale, zero], integers, f"{value}.quantize")
        self._node("DequantizeLinear", [integers, scale, zero], name, f"{value}.dequantize")
        self.integers[value] = integers
        return name

    def _channel_weight(self, layer: TypedLayer) -> str:
        held = channel_weights(layer.found.weight, layer.found.axis, self._round_scale)
        self.weights[layer.name] = held
        inputs = [
            self._constant(f"{layer.name}.weight", held.integers),
            self._constant(f"{layer.name}.weight.scale", held.scale.astype(np.float32)),
            self._constant(f"{layer.name}.weight.zero_point", np.zeros(held.scale.shape, np.int8)),
        ]
        return self._weight_node(layer, inputs, axis=layer.found.axis)

    def _add_product(self, node: NodeProto, layer: TypedLayer) -> None:
        """Add a layer as MatMul, between transposes where it is a convolution."""
        name, value = layer.name, node.input[0]
        image, bias = layer.found.operator == "Conv", layer.found.bias
        if image:
            last = self._name(f"{name}.channels_last")
            value = self._node("Transpose", [value], last, f"{name}.to_last", perm=[0, 2, 3, 1])
        # Each step makes the layer's result where it is the last.
        made = node.output[0] if not image and bias is None else self._name(f"{name}.product")
        self._node("MatMul", [value, self._blocked_weight(layer)], made, name)
        if bias is not None:
            inputs = [made, self._bias(name, bias)]
            made = self._name(f"{name}.biased") if image else node.output[0]
            self._node("Add", inputs, made, f"{name}.add_bias")
        if image:
            self._node("Transpose", [made], node.output[0], f"{name}.to_first", perm=[0, 3, 1, 2])

    def _blocked_weight(self, layer: TypedLayer) -> str:
        if layer.block is None:
            raise ValueError(f"{layer.name}: its weights have no blocks")
        held = block_weights(layer.matrix, layer.block, self._round_scale)
        self.weights[layer.name] = held
        inputs = [
            self._four_bits(f"{layer.name}.weight", held.integers),
            self._constant(f"{layer.name}.weight.scale", held.scale.astype(np.float32)),
        ]
        return self._weight_node(layer, inputs, axis=0, block_size=layer.block)

    def _weight_node(self, layer: TypedLayer, inputs: list[str], **attributes: int) -> str:
        value = self._name(f"{layer.name}.weight.dequantized")
        return self._node("DequantizeLinear", inputs, value, f"{layer.name}.weight.dequantize", **attributes)

    def _node(self, operator: str, inputs: list[str], result: str, name: str, **attributes: Any) -> str:
        self._nodes.append(helper.make_node(operator, inputs, [result], name=name, **attributes))
        return result

    def _constant(self, name: str, array: NDArray[np.generic] | np.generic) -> str:
        own = self._name(name)
        if own not in self._tensors:
            self._tensors[own] = numpy_helper.from_array(np.asarray(array), own)
        return own

    def _bias(self, layer: str, bias: NDArray[np.float32]) -> str:
        return self._constant(f"{layer}.bias", bias)

    def _four_bits(self, name: str, integers: NDArray[np.int8]) -> str:
        own = self._name(name)
        flat = integers.reshape(-1).astype(np.uint8) & 0xF
        packed = (flat[0::2] | (flat[1::2] << 4)).astype(np.uint8)
        self._tensors[own] = helper.make_tensor(own, TensorProto.INT4, integers.shape, packed.tobytes(), raw=True)
        return own

    def _name(self, wanted: str) -> str:
        """Return `wanted`, or what is nearest to it and not taken by a value of the network."""
        return self._names.setdefault(wanted, self._editor.free_name(wanted))
