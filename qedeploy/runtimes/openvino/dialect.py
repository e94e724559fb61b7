"""OpenVINO on CPU: zero point 0 everywhere, a float Clip where a grid is narrower, the rest of the graph in float32.

Measured with OpenVINO 2026.4: every weighted layer then runs in u8. ONNX Runtime's form does not do: its zero point of
128 and its packed stem leave layers in float32, and the rounding of a branch in front of an addition is fused away, so
that a tenth of the integers behind it are one step off. Here a branch is not rounded before it is added.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import ClassVar

import numpy as np

from qedeploy.network.layers import Layer, LayerKind
from qedeploy.network.operations import Operation, OperationKind
from qedeploy.network.structure import Bits
from qedeploy.profiles.profile import Lowering
from qedeploy.qdq import nodes
from qedeploy.qdq.dialect import EXACT, QuantizationPoint, Quantized, Rounding, new_points, own_shortcut
from qedeploy.qdq.fold import FoldedLayer, groups_of
from qedeploy.qdq.graph_builder import GraphBuilder
from qedeploy.qdq.lowered import LoweredNetwork
from qedeploy.qdq.plan import Grid

_POINT_BITS = 8
_RANGES = {np.uint8: (0, 255), np.int8: (-128, 127)}


class OpenVINODialect:
    """The graph of which OpenVINO's CPU plugin runs every weighted layer in u8."""

    name: ClassVar[str] = "openvino"
    runtime: ClassVar[str] = "openvino"
    opset: ClassVar[int] = 17
    lowerings: ClassVar[frozenset[Lowering]] = frozenset({Lowering.INT8, Lowering.FLOAT32})
    integer_bias: ClassVar[bool] = False
    unsigned_activation_bits: ClassVar[int] = 8
    channel_multiple: ClassVar[int] = 1
    # The float bias is taken literally, where an optimiser would round it to the grid of the products.
    rounding: ClassVar[Rounding] = Rounding(share=EXACT.share, optimize=False)
    float_tolerance: ClassVar[float] = 1e-4

    def exact_form(self) -> None:
        """Return None: around its integers the graph is float32."""

    def highest_weight(self, lowering: Lowering, bits: Bits) -> int:
        """Return 127, int8 weights being the only ones."""
        del lowering, bits
        return 127

    def points(self, steps: Iterable[Operation], quantized: Collection[str]) -> tuple[QuantizationPoint, ...]:
        """Return the shortcuts, pooled or made by a layer of their own, whose branch ends in a quantized layer."""
        by_name = {step.name: step for step in steps}
        found: list[QuantizationPoint] = []
        for add in by_name.values():
            if add.kind is not OperationKind.ADD:
                continue
            branch, shortcut = (by_name.get(name) for name in add.inputs)
            if branch is None or shortcut is None or branch.inputs[0] not in quantized:
                continue
            pooled = shortcut.kind is OperationKind.AVERAGE_POOL and shortcut.inputs[0] in quantized
            if pooled or own_shortcut(shortcut, by_name.values(), quantized):
                found.append(
                    QuantizationPoint(
                        value=shortcut.name,
                        bits=_POINT_BITS,
                        signed=not shortcut.nonnegative,
                        nonnegative=shortcut.nonnegative,
                        ceiling=shortcut.ceiling,
                        reason="a convolution fuses with the add in 8 bits where the shortcut is quantized",
                    )
                )
        return new_points(found, quantized)

    def arrange(self, network: LoweredNetwork) -> LoweredNetwork:
        """Return `network` as it is: the plugin pads and reorders by itself."""
        return network

    def write_input(self, graph: GraphBuilder, value: str) -> str:
        """Leave the input as it is."""
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
        """Write a float Clip where the grid is narrower than its type, Q and DQ."""
        del producer, reader
        kind = np.uint8 if grid.low == 0 else np.int8
        if (grid.low, grid.high) != _RANGES[kind]:
            # The bounds are whole steps, which round to themselves.
            bounds = [_bound(graph, grid.low * grid.step), _bound(graph, grid.high * grid.step)]
            value = graph.node("Clip", [value, *bounds], f"{name}.clip")
        scale = graph.constant(f"{name}.scale", np.float32(grid.step))
        zero = graph.constant(f"zero_point.{np.dtype(kind).name}", kind(0))
        integers = graph.node("QuantizeLinear", [value, scale, zero], f"{name}.quantize")
        real = graph.node("DequantizeLinear", [integers, scale, zero], f"{name}.dequantize")
        return Quantized(value=real, integers=integers, zero_point=0)

    def write_operation(
        self,
        graph: GraphBuilder,
        operation: Operation,
        inputs: Sequence[str],
        layer: FoldedLayer | None,
        grid: Grid | None,
        output_grid: Grid | None,
    ) -> str:
        """Write one operation with its activation, both of which the plugin fuses."""
        del output_grid, grid
        if operation.layer is None or layer is None:
            value = nodes.weightless(graph, operation, inputs)
        else:
            # Without a grid the bias stays floating point.
            operands = [
                nodes.weight(graph, operation.name, layer),
                nodes.bias(graph, operation.name, layer, None),
            ]
            value = _weighted(graph, operation.layer, inputs[0], operands, layer)
        return nodes.relu(graph, operation, value)

    def write_output(self, graph: GraphBuilder, value: str, name: str) -> str:
        """Give the logits their name."""
        return graph.node("Identity", [value], name)


def _weighted(graph: GraphBuilder, layer: Layer, value: str, operands: Sequence[str], folded: FoldedLayer) -> str:
    if layer.kind is not LayerKind.LINEAR:
        groups = groups_of(layer, folded.weight.shape[0])
        return nodes.convolution(graph, layer, [value, *operands], groups=groups)
    if len(layer.input) > 1:
        value = graph.node("Flatten", [value], f"{layer.name}.flatten")
    return nodes.linear(graph, layer, [value, *operands])


def _bound(graph: GraphBuilder, value: float) -> str:
    return graph.constant(f"bound.{float(np.float32(value))!r}", np.float32(value))
