"""A prepared network with some of its layers in integers, in the QDQ form that the runtime fuses.

A layer in integers reads `DequantizeLinear(QuantizeLinear(value))` and dequantized weights, and a convolution's result
is quantized again: that is what becomes QLinearConv, QGemm or QLinearMatMul. Between such layers, operators that ONNX
Runtime has in integers too (an addition, a product, a pooling, a sigmoid) stay in integers, and what only reads
integers on another grid (regridding) costs nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, helper, numpy_helper

from qedeploy.export.onnx_networks.editor import GraphEditor, all_inputs
from qedeploy.export.onnx_networks.grids import ValueGrid, rounded_weight
from qedeploy.export.onnx_networks.integer_layers import SAME_GRID, IntegerLayer
from qedeploy.export.onnx_networks.regridding import IntegerReading

_OF_TWO = frozenset({"Add", "Mul"})
CARRIED = (
    frozenset(
        {"Concat", "AveragePool", "GlobalAveragePool", "Resize", "Sigmoid", "LeakyRelu", "HardSigmoid",
         "BatchNormalization"}
    )
    | _OF_TWO
    | SAME_GRID
)  # fmt: skip
"""Operators that can stay in integers between integer layers; the last two only where regridding serves."""

_REGRIDDED = frozenset({"HardSigmoid", "BatchNormalization"})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QuantizedModel:
    """A written model: `layers` are those planned in integers, `integers` the quantized tensor of each value."""

    model: onnx.ModelProto
    layers: tuple[str, ...]
    integers: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Placement:
    """Which values are quantized: `made` for everything that reads them, `read` only for integer layers."""

    made: frozenset[str]
    read: frozenset[str]


def quantize_graph(
    model: onnx.ModelProto,
    editor: GraphEditor,
    chosen: Mapping[str, IntegerLayer],
    weight_limits: Mapping[str, int],
    grids: Mapping[str, ValueGrid],
    readings: Mapping[str, IntegerReading],
) -> QuantizedModel:
    """Return `model`, which `editor` shows, with the layers of `chosen` in integers.

    `weight_limits` is the largest weight of each, 127 or 63. `grids` holds a grid for the source and the result of each
    of them and for every value that CARRIED operators make between them, `readings` how some are others' integers.
    """
    placement = _place(editor, chosen, grids, readings)
    writer = _Writer(editor, grids, readings, placement)
    for node in editor.nodes:
        writer.add(node, chosen.get(node.name), weight_limits.get(node.name, 0))
    return QuantizedModel(model=writer.model(model), layers=tuple(chosen), integers=writer.integers)


def can_carry(
    editor: GraphEditor, node: NodeProto, grids: Mapping[str, ValueGrid], readings: Mapping[str, IntegerReading]
) -> bool:
    """Return whether `node` can be in integers where all that it reads is."""
    inputs = editor.computed_inputs(node)
    if node.op_type not in CARRIED or not inputs or not all(value in grids for value in (*inputs, *node.output)):
        return False
    if node.op_type in _REGRIDDED:
        return node.output[0] in readings
    return len(inputs) == 2 or node.op_type not in _OF_TWO


def _place(
    editor: GraphEditor,
    chosen: Mapping[str, IntegerLayer],
    grids: Mapping[str, ValueGrid],
    readings: Mapping[str, IntegerReading],
) -> _Placement:
    wanted = {layer.source for layer in chosen.values()}
    made = {layer.result for layer in chosen.values() if not layer.is_linear}
    carried = _carried(editor, chosen, wanted, made, grids, readings)
    made |= {value for node in carried for value in node.output}
    wanted |= {value for node in carried for value in editor.computed_inputs(node)}
    made |= {layer.result for layer in chosen.values() if layer.is_linear and layer.result in wanted}
    return _Placement(made=frozenset(made), read=frozenset(wanted - made))


def _carried(
    editor: GraphEditor,
    chosen: Mapping[str, IntegerLayer],
    wanted: Collection[str],
    made: Collection[str],
    grids: Mapping[str, ValueGrid],
    readings: Mapping[str, IntegerReading],
) -> list[NodeProto]:
    """Return operators whose inputs are all quantized and whose result an integer layer reads, maybe through others."""
    available = set(made) | {layer.result for layer in chosen.values()}
    candidates = []
    for node in editor.nodes:
        inputs = editor.computed_inputs(node)
        if can_carry(editor, node, grids, readings) and all(value in available for value in inputs):
            candidates.append(node)
            available |= set(node.output)
    kept: list[NodeProto] = []
    needed = set(wanted)
    for node in reversed(candidates):
        if any(value in needed for value in node.output):
            kept.append(node)
            needed |= set(editor.computed_inputs(node))
    return kept[::-1]


class _Writer:
    def __init__(
        self,
        editor: GraphEditor,
        grids: Mapping[str, ValueGrid],
        readings: Mapping[str, IntegerReading],
        placement: _Placement,
    ) -> None:
        self._editor = editor
        self._grids = grids
        self._readings = readings
        self._placement = placement
        self._nodes: list[NodeProto] = []
        self._constants: dict[str, NDArray[np.generic]] = {}
        self._names: dict[str, str] = {}
        self.integers: dict[str, str] = {}

    def add(self, node: NodeProto, layer: IntegerLayer | None, limit: int) -> None:
        """Add `node`, in integers where `layer` is the one it computes."""
        if node.output[0] in self._readings and node.output[0] in self._placement.made:
            self._read(node.output[0], self._readings[node.output[0]])
            return
        copy = NodeProto()
        copy.CopyFrom(node)
        if layer is not None:
            copy.input[0] = self._dequantized(layer.source)
            self._quantize_operands(copy, layer, limit)
        elif node.op_type in CARRIED and any(value in self._placement.made for value in node.output):
            for index, value in enumerate(node.input):
                if value in self._placement.read:
                    copy.input[index] = self._dequantized(value)
        made = [value for value in copy.output if value in self._placement.made]
        for index, value in enumerate(node.output):
            if value in self._placement.made:
                copy.output[index] = self._name(f"{value}.float")
        self._nodes.append(copy)
        for value in made:
            self._pair(value, self._name(f"{value}.float"), value)

    def model(self, original: onnx.ModelProto) -> onnx.ModelProto:
        """Return what was added as a model with the inputs and outputs of `original`."""
        model = onnx.ModelProto()
        model.CopyFrom(original)
        nodes = self._live({item.name for item in original.graph.output})
        read = {name for node in nodes for name in all_inputs(node)}
        kept = [item for item in original.graph.initializer if item.name in read]
        del model.graph.node[:], model.graph.initializer[:], model.graph.value_info[:]
        model.graph.node.extend(nodes)
        model.graph.initializer.extend(kept)
        model.graph.initializer.extend(numpy_helper.from_array(np.asarray(a), n) for n, a in self._constants.items())
        return model

    def _live(self, outputs: Collection[str]) -> list[NodeProto]:
        """Return the nodes that something reads: a runtime may run the others too."""
        needed, kept = set(outputs), []
        for node in reversed(self._nodes):
            if needed.intersection(node.output):
                kept.append(node)
                needed.update(all_inputs(node))
        return kept[::-1]

    def _dequantized(self, value: str) -> str:
        """Return the name under which an integer layer reads `value`, quantizing it for such layers if need be."""
        if value in self._placement.made:
            return value
        name = self._name(f"{value}.dequantized")
        if value not in self.integers:
            self._pair(value, value, name)
        return name

    def _read(self, value: str, reading: IntegerReading) -> None:
        """Make `value` of the integers of another."""
        integers = self.integers[reading.source]
        if reading.bounds is not None:
            bounds = [self._constant(f"level.{level}", np.uint8(level)) for level in reading.bounds]
            clipped = self._name(f"{value}.quantized")
            self._nodes.append(helper.make_node("Clip", [integers, *bounds], [clipped], name=f"{value}.clip"))
            integers = clipped
        inputs = [integers, *self._grid_constants(value, reading.grid)]
        self._nodes.append(helper.make_node("DequantizeLinear", inputs, [value], name=f"{value}.dequantize"))
        self.integers[value] = integers

    def _grid_constants(self, value: str, grid: ValueGrid) -> tuple[str, str]:
        return (
            self._constant(f"{value}.scale", np.float32(grid.scale)),
            self._constant(f"{value}.zero_point", np.uint8(grid.zero_point)),
        )

    def _pair(self, value: str, source: str, result: str) -> None:
        scale, zero = self._grid_constants(value, self._grids[value])
        integers = self._name(f"{value}.quantized")
        self._nodes.append(
            helper.make_node("QuantizeLinear", [source, scale, zero], [integers], name=f"{value}.quantize")
        )
        self._nodes.append(
            helper.make_node("DequantizeLinear", [integers, scale, zero], [result], name=f"{value}.dequantize")
        )
        self.integers[value] = integers

    def _quantize_operands(self, node: NodeProto, layer: IntegerLayer, limit: int) -> None:
        step = self._grids[layer.source].scale
        integers, scales = rounded_weight(layer.weight, layer.axis, layer.bias, step, limit)
        node.input[1] = self._constant_pair(f"{layer.name}.weight", integers, scales, layer.axis)
        if layer.bias is not None:
            bias_scales = scales * np.float32(step)
            bias = np.rint(layer.bias.astype(np.float64) / bias_scales).astype(np.int32)
            del node.input[2:]
            node.input.append(self._constant_pair(f"{layer.name}.bias", bias, bias_scales, 0))

    def _constant_pair(self, name: str, integers: NDArray[np.generic], scales: NDArray[np.float32], axis: int) -> str:
        inputs = [
            self._constant(f"{name}.integers", integers),
            self._constant(f"{name}.scale", scales),
            self._constant(f"{name}.zero_point", np.zeros(len(scales), integers.dtype)),
        ]
        value = self._name(f"{name}.dequantized")
        self._nodes.append(helper.make_node("DequantizeLinear", inputs, [value], name=f"{name}.dequantize", axis=axis))
        return value

    def _constant(self, name: str, array: NDArray[np.generic] | np.generic) -> str:
        own = self._name(name)
        self._constants.setdefault(own, np.asarray(array))
        return own

    def _name(self, wanted: str) -> str:
        """Return `wanted`, or what is nearest to it and not taken by a value of the network."""
        return self._names.setdefault(wanted, self._editor.free_name(wanted))
