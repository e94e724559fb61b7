"""ONNX Runtime on CPU: uint8 activations, int8 weights per output channel, and Q/DQ where its kernels fuse.

Measured with ONNX Runtime 1.32: zero point 0 after a ReLU and 128 elsewhere fuses every convolution to QLinearConv;
a narrower range must be an integer Clip between Q and DQ, since a float one before Q breaks the fusion; an add fuses
to QLinearAdd where both inputs and the output are quantized, and so do the poolings.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import ClassVar

import numpy as np

from qedeploy.network.layers import Layer, LayerKind, Position
from qedeploy.network.operations import Operation, OperationKind
from qedeploy.network.structure import MAX_BITS, Bits
from qedeploy.profiles.profile import Lowering
from qedeploy.qdq import nodes
from qedeploy.qdq.channel_padding import pad_channels
from qedeploy.qdq.dialect import EXACT, QuantizationPoint, Quantized, Rounding, is_integer, new_points, own_shortcut
from qedeploy.qdq.fold import FoldedLayer, groups_of
from qedeploy.qdq.graph_builder import GraphBuilder
from qedeploy.qdq.lowered import LoweredNetwork
from qedeploy.qdq.plan import Grid
from qedeploy.runtimes.onnxruntime.stem_packing import (
    pack_columns,
    packed_attributes,
    packed_layer,
    packs,
    unpack_columns,
)

_POINT_BITS = 8


class OnnxRuntimeDialect:
    """The graph that ONNX Runtime's CPU kernels fuse completely."""

    name: ClassVar[str] = "onnxruntime"
    runtime: ClassVar[str] = "onnxruntime"
    opset: ClassVar[int] = 17
    lowerings: ClassVar[frozenset[Lowering]] = frozenset({Lowering.INT8, Lowering.FLOAT32})
    integer_bias: ClassVar[bool] = True
    unsigned_activation_bits: ClassVar[int] = 8
    channel_multiple: ClassVar[int] = 16
    rounding: ClassVar[Rounding] = EXACT
    float_tolerance: ClassVar[float] = 1e-4

    def exact_form(self) -> None:
        """Return None: around its integers the graph is float32."""

    def highest_weight(self, lowering: Lowering, bits: Bits) -> int:
        """Return 127, int8 weights being the only ones."""
        del lowering, bits
        return 127

    def points(self, steps: Iterable[Operation], quantized: Collection[str]) -> tuple[QuantizationPoint, ...]:
        """Return the outputs that must be quantized for ONNX Runtime to fuse their convolution, add or pooling."""
        by_name = {step.name: step for step in steps}
        found: list[QuantizationPoint] = []
        pooled = {
            step.inputs[0]
            for step in by_name.values()
            if step.kind is OperationKind.GLOBAL_AVERAGE_POOL and step.name in quantized
        }
        for step in by_name.values():
            if step.kind is OperationKind.ADD:
                found.extend(_add_points(step, by_name, quantized))
            if step.name in pooled and is_integer(step, quantized):
                found.append(_point(step, "QLinearConv puts out a quantized value"))
            if step.kind is OperationKind.FLOAT or (step.layer is not None and not is_integer(step, quantized)):
                makers = (by_name.get(name) for name in step.inputs)
                integer = [maker for maker in makers if maker is not None and is_integer(maker, quantized)]
                found.extend(_point(maker, "QLinearConv puts out a quantized value") for maker in integer)
        return new_points(found, quantized)

    def arrange(self, network: LoweredNetwork) -> LoweredNetwork:
        """Pad channels to a multiple of 16, without which depthwise convolutions take a kernel 2.7 times slower."""
        return pad_channels(network, self.channel_multiple)

    def write_input(self, graph: GraphBuilder, value: str) -> str:
        """Leave the input as it is: the graph computes in float32 around its quantized nodes."""
        del graph
        return value

    def write_quantization(
        self,
        graph: GraphBuilder,
        value: str,
        name: str,
        grid: Grid,
        *,
        producer: Layer | None,
        reader: Layer | None,
    ) -> Quantized:
        """Write Q, an integer Clip where the grid is narrower than uint8, and DQ; the stem works on packed columns."""
        zero_point = 0 if grid.low == 0 else 128
        scale = graph.constant(f"{name}.scale", np.float32(grid.step))
        zero = graph.constant(f"zero_point.{zero_point}", np.uint8(zero_point))
        integers = graph.node("QuantizeLinear", [value, scale, zero], f"{name}.quantize")
        low, high = grid.low + zero_point, grid.high + zero_point
        bounds = [_bound(graph, low) if low > 0 else "", _bound(graph, high) if high < 255 else ""]
        if any(bounds):
            integers = graph.node("Clip", [integers, *bounds] if bounds[1] else [integers, bounds[0]], f"{name}.clip")
        if producer is not None and _is_packed(producer):
            integers = unpack_columns(graph, integers, name, producer.output)
        read = integers
        if reader is not None and _is_packed(reader):
            read = pack_columns(graph, integers, name, reader.input)
        dequantized = graph.node("DequantizeLinear", [read, scale, zero], f"{name}.dequantize")
        return Quantized(value=dequantized, integers=integers, zero_point=zero_point)

    def write_operation(
        self,
        graph: GraphBuilder,
        operation: Operation,
        inputs: Sequence[str],
        layer: FoldedLayer | None,
        grid: Grid | None,
        output_grid: Grid | None,
    ) -> str:
        """Write one operation; its activation is left to the range of the output's grid where that starts at zero."""
        if operation.layer is not None and layer is not None:
            value = self._write_layer(graph, operation.layer, inputs[0], layer, grid)
        elif operation.kind is OperationKind.AVERAGE_POOL and _halves(operation) and output_grid is not None:
            value = _average_by_convolution(graph, operation, inputs[0])
        else:
            value = nodes.weightless(graph, operation, inputs)
        saturates = output_grid is not None and output_grid.low == 0
        value = value if saturates else nodes.relu(graph, operation, value)
        if operation.layer is not None and _is_packed(operation.layer) and output_grid is None:
            value = unpack_columns(graph, value, operation.name, operation.output)
        return value

    def write_output(self, graph: GraphBuilder, value: str, name: str) -> str:
        """Give the logits their name."""
        return graph.node("Identity", [value], name)

    def _write_layer(
        self, graph: GraphBuilder, layer: Layer, value: str, folded: FoldedLayer, grid: Grid | None
    ) -> str:
        folded = packed_layer(folded) if _is_packed(layer) else folded
        if folded.scale is None and layer.kind is LayerKind.DEPTHWISE:
            # Between DequantizeLinear and QuantizeLinear a session quantizes float weights itself, to 8 bits for the
            # whole tensor, where the input has one scale (ONNX Runtime's weight_bias_quantization.cc).
            graph.dequantize_per_channel(value, folded.weight.shape[0])
        operands = [nodes.weight(graph, layer.name, folded), nodes.bias(graph, layer.name, folded, grid)]
        if layer.kind is LayerKind.LINEAR:
            return nodes.linear(graph, layer, [_flat(graph, layer, value), *operands])
        attributes = packed_attributes(layer.kernel) if _is_packed(layer) else None
        groups = groups_of(layer, folded.weight.shape[0])
        return nodes.convolution(graph, layer, [value, *operands], groups=groups, attributes=attributes)


def _is_packed(layer: Layer) -> bool:
    return layer.position is Position.STEM and layer.bits.activation < MAX_BITS and packs(layer)


def _flat(graph: GraphBuilder, layer: Layer, value: str) -> str:
    """Bring what a linear `layer` reads to (batch, features)."""
    if len(layer.input) == 1:
        return value
    if layer.input[1:] != (1, 1):
        return graph.node("Flatten", [value], f"{layer.name}.flatten")
    # DequantizeLinear is propagated over Squeeze and not over Flatten; Gemm becomes QGemm only behind it.
    axes = graph.constant("spatial_axes", np.array([2, 3], np.int64))
    return graph.node("Squeeze", [value, axes], f"{layer.name}.squeeze")


def _halves(pool: Operation) -> bool:
    return not any(size % 2 for size in pool.input[1:])


def _average_by_convolution(graph: GraphBuilder, operation: Operation, value: str) -> str:
    # QLinearAveragePool takes eight times as long as the depthwise convolution that computes the same.
    channels = operation.input[0]
    ones = FoldedLayer(
        weight=np.ones((channels, 1, 2, 2), np.int8),
        scale=np.full(channels, 0.25, np.float32),
        bias=np.zeros(channels),
    )
    operands = [value, nodes.weight(graph, operation.name, ones)]
    return graph.node("Conv", operands, operation.name, kernel_shape=[2, 2], strides=[2, 2], group=channels)


def _add_points(add: Operation, steps: Mapping[str, Operation], quantized: Collection[str]) -> list[QuantizationPoint]:
    branch, shortcut = (steps.get(name) for name in add.inputs)
    pool = shortcut if shortcut is not None and shortcut.kind is OperationKind.AVERAGE_POOL else None
    origin = add.inputs[1] if pool is None else pool.inputs[0]
    # A shortcut with a layer of its own is read by nothing that would have quantized it.
    own = steps.get(origin)
    rounded = origin in quantized or own_shortcut(own, steps.values(), quantized)
    if branch is None or not is_integer(branch, quantized) or add.name not in quantized or not rounded:
        return []
    points = [_point(step, "QLinearAdd reads two quantized inputs") for step in (branch, own) if step is not None]
    if pool is not None:
        points.append(_point(pool, "the pooled shortcut of a QLinearAdd"))
    return points


def _point(step: Operation, reason: str) -> QuantizationPoint:
    return QuantizationPoint(
        value=step.name,
        bits=_POINT_BITS,
        signed=not step.nonnegative,
        nonnegative=step.nonnegative,
        ceiling=step.ceiling,
        reason=reason,
    )


def _bound(graph: GraphBuilder, value: int) -> str:
    return graph.constant(f"bound.{value}", np.uint8(value))
