"""TensorRT: int8 with zero point 0, a float Clip where a grid is narrower, float16 for the rest of the graph.

TensorRT is strongly typed: it computes in the types of the graph, so everything between the casts at both ends is
float16. Q/DQ stands on the inputs of weighted layers and, through them, on the shortcut of a residual; a shortcut that
is pooled gets a point of its own, because without one the convolution before the add would put out float16.

Opset 21 with float16 scales, rounded before the integers are computed (half.py), and not opset 23 with float32 scales
and `output_dtype`: the very file that TensorRT gets then runs in ONNX Runtime, where it is verified, older parsers read
it, and TensorRT's parser fused both forms alike. The price is a step that is off by at most one part in 2,048. ONNX
Runtime's optimiser must be off for exact numbers: it rounds the float biases to 32-bit integers on the products' grid.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from qedeploy.network.layers import Layer
from qedeploy.network.operations import Operation, OperationKind
from qedeploy.network.structure import Bits
from qedeploy.network.window import POINT
from qedeploy.profiles.profile import Lowering
from qedeploy.qdq import nodes
from qedeploy.qdq.dialect import EXACT, QuantizationPoint, Quantized, Rounding, new_points, own_shortcut
from qedeploy.qdq.fold import FoldedLayer, groups_of
from qedeploy.qdq.graph_builder import GraphBuilder
from qedeploy.qdq.lowered import LoweredNetwork
from qedeploy.qdq.plan import Grid
from qedeploy.runtimes.nvidia.half import in_half

_HALF_TOLERANCE = 2**-7
"""Error of a float16 value as a share of the largest: products and their sum are each rounded to 11 bits (2^-12 of
themselves), and a weight-only layer's expanded weights as well. Sixteen times what was seen (4.8e-4)."""

_HALF_SHARE = 0.05
"""Integers that ONNX Runtime may round to a neighbour: it expands them to float16, whose error of 2^-12 is up to 0.03
steps at the 127th, on either side of a boundary. Three to five times what was seen (1.1 %)."""

_POINT_BITS = 8
_INT8_LOW, _INT8_HIGH = -128, 127
_INT4_BITS = 4

BLOCKS = (128, 64, 32, 16, 8)
"""Block sizes for 4-bit weights, TensorRT's usual one first.

At least two blocks are wanted: with one block, which is one scale per channel, a plan that was inspected grew by a
separate kernel that expands the weights (TensorRT for RTX 1.7.1; other versions folded them back to float).
"""


class TensorRTDialect:
    """The graph that TensorRT 10.16 and 11 fuse into INT8 kernels, with 4-bit weights where they stay 4-bit.

    `exact` writes the same graph with float32 in place of float16. It is for verification only: there a difference of
    integers is a fault, while float16 rounds what ONNX Runtime computes between them and TensorRT's INT8 kernels do
    not (they add in 32-bit integers and scale in float32).
    """

    name: str = "tensorrt"
    runtime: str = "tensorrt"
    opset: int = 21
    lowerings: frozenset[Lowering] = frozenset({Lowering.INT8, Lowering.INT4_WEIGHT_ONLY, Lowering.FLOAT16})
    integer_bias: bool = False
    unsigned_activation_bits: int = 7
    channel_multiple: int = 1

    def __init__(self, *, exact: bool = False) -> None:
        self._exact = exact
        self.float_tolerance = 1e-4 if exact else _HALF_TOLERANCE
        self.rounding = Rounding(share=EXACT.share if exact else _HALF_SHARE, optimize=False)
        self._type: Any = np.float32 if exact else np.float16
        self._onnx_type = TensorProto.FLOAT if exact else TensorProto.FLOAT16

    def exact_form(self) -> TensorRTDialect | None:
        """Return the float32 form."""
        return None if self._exact else type(self)(exact=True)

    def highest_weight(self, lowering: Lowering, bits: Bits) -> int:
        """Return 7 for 4-bit weights, else 127."""
        del bits
        return 7 if lowering is Lowering.INT4_WEIGHT_ONLY else _INT8_HIGH

    def points(self, steps: Iterable[Operation], quantized: Collection[str]) -> tuple[QuantizationPoint, ...]:
        """Return the shortcuts, pooled or made by a layer of their own, whose branch ends in a quantized layer."""
        by_name = {step.name: step for step in steps}
        found: list[QuantizationPoint] = []
        for step in by_name.values():
            if step.kind is not OperationKind.ADD:
                continue
            branch, shortcut = (by_name.get(name) for name in step.inputs)
            if branch is None or shortcut is None:
                continue
            pooled = shortcut.kind is OperationKind.AVERAGE_POOL and shortcut.inputs[0] in quantized
            if branch.inputs[0] in quantized and (pooled or own_shortcut(shortcut, by_name.values(), quantized)):
                reason = "a convolution fuses with the add in INT8 only where the shortcut is quantized"
                nonnegative = shortcut.nonnegative
                point = QuantizationPoint(
                    value=shortcut.name, bits=_POINT_BITS, signed=True, nonnegative=nonnegative, reason=reason
                )
                found.append(point)
        return new_points(found, quantized)

    def arrange(self, network: LoweredNetwork) -> LoweredNetwork:
        """Return `network` with float16 constants; its notes say how the 4-bit layers are stored."""
        arranged = in_half(network)
        weight_only = {layer.name for layer in network.plan.layers if layer.lowering is Lowering.INT4_WEIGHT_ONLY}
        notes = tuple(_storage(layer) for layer in network.graph.layers if layer.name in weight_only)
        return dataclasses.replace(
            arranged, plan=dataclasses.replace(arranged.plan, notes=(*arranged.plan.notes, *notes))
        )

    def write_input(self, graph: GraphBuilder, value: str) -> str:
        """Cast the float32 input to the type that the graph computes in."""
        return graph.node("Cast", [value], f"{value}.cast", to=self._onnx_type)

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
        """Write a float Clip where the grid is narrower than int8, Q and DQ."""
        del producer, reader
        if grid.high < _INT8_HIGH or _INT8_LOW < grid.low < 0:
            # Below zero a ReLU has been before; the bounds are whole steps, which round to themselves.
            bounds = [self._bound(graph, grid.low * grid.step), self._bound(graph, grid.high * grid.step)]
            value = graph.node("Clip", [value, *bounds], f"{name}.clip")
        scale = graph.constant(f"{name}.scale", self._type(grid.step))
        zero = graph.constant("zero_point", np.int8(0))
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
        """Write one operation with its ReLU, which TensorRT fuses."""
        del output_grid
        if operation.layer is None or layer is None:
            value = nodes.weightless(graph, operation, inputs, self._type)
        elif grid is None and layer.scale is not None and block_size(operation.layer) is not None:
            value = self._matrix_product(graph, operation, inputs[0], layer)
        else:
            value = self._convolution(graph, operation, inputs[0], layer)
        return nodes.relu(graph, operation, value, self._type)

    def write_output(self, graph: GraphBuilder, value: str, name: str) -> str:
        """Cast the logits to float32."""
        return graph.node("Cast", [value], name, to=TensorProto.FLOAT)

    def _convolution(self, graph: GraphBuilder, operation: Operation, value: str, layer: FoldedLayer) -> str:
        """Write a layer as a Conv; the classifier is one of size 1, which batch 1 runs in INT8 as well."""
        if operation.layer is None:
            raise ValueError(f"{operation.name}: a convolution needs its layer")
        linear = operation.kind is OperationKind.LINEAR
        weight = layer.weight[:, :, None, None] if linear else layer.weight
        value = _as_column(graph, operation, value) if linear else value
        operands = [
            value,
            self._weight(graph, operation.name, weight, layer.scale),
            self._bias(graph, operation, layer),
        ]
        groups = groups_of(operation.layer, layer.weight.shape[0])
        value = nodes.convolution(graph, operation.layer, operands, groups=groups)
        return graph.node("Flatten", [value], f"{operation.name}.flatten") if linear else value

    def _matrix_product(self, graph: GraphBuilder, operation: Operation, value: str, layer: FoldedLayer) -> str:
        """Write a 1x1 convolution as Transpose, MatMul with 4-bit weights on the right, Transpose.

        On the right, because TensorRT's builder crashes where the 4-bit operand is the left one.
        """
        name, linear = operation.name, operation.kind is OperationKind.LINEAR
        if linear:
            flat = len(operation.input) == 1
            value = value if flat else graph.node("Flatten", [value], f"{name}.flatten")
        else:
            value = graph.node("Transpose", [value], f"{name}.to_channels_last", perm=[0, 2, 3, 1])
        product = graph.node("MatMul", [value, self._blocked_weight(graph, operation, layer)], name)
        value = graph.node("Add", [product, self._bias(graph, operation, layer)], f"{name}.add_bias")
        return value if linear else graph.node("Transpose", [value], f"{name}.to_channels_first", perm=[0, 3, 1, 2])

    def _weight(self, graph: GraphBuilder, name: str, weight: np.ndarray, scale: np.ndarray | None) -> str:
        if scale is None:
            return graph.constant(f"{name}.weight", weight.astype(self._type))
        integers = graph.constant(f"{name}.weight", weight)
        scales = graph.constant(f"{name}.weight.scale", scale.astype(self._type))
        zeros = graph.constant(f"{name}.weight.zero_point", np.zeros(scale.shape, np.int8))
        return graph.node("DequantizeLinear", [integers, scales, zeros], f"{name}.weight.dequantize", axis=0)

    def _blocked_weight(self, graph: GraphBuilder, operation: Operation, layer: FoldedLayer) -> str:
        name = operation.name
        block = block_size(operation.layer) if operation.layer is not None else None
        if block is None or layer.scale is None:
            raise ValueError(f"{name}: its weights have no blocks")
        matrix = layer.weight.reshape(layer.weight.shape[0], -1).T
        integers = graph.constant(f"{name}.weight", _int4(f"{name}.weight", matrix))
        rows = matrix.shape[0] // block
        scale = graph.constant(f"{name}.weight.scale", np.tile(layer.scale.astype(self._type), (rows, 1)))
        return graph.node("DequantizeLinear", [integers, scale], f"{name}.weight.dequantize", axis=0, block_size=block)

    def _bias(self, graph: GraphBuilder, operation: Operation, layer: FoldedLayer) -> str:
        return graph.constant(f"{operation.name}.bias", layer.bias.astype(self._type))

    def _bound(self, graph: GraphBuilder, value: float) -> str:
        bound = self._type(value)
        return graph.constant(f"bound.{float(bound)!r}", bound)


def block_size(layer: Layer | None) -> int | None:
    """Return how many input channels of a 4-bit layer share a scale, None where it cannot be held in 4 bits.

    It can where it is a product with a matrix (1x1, stride 1, one group) of an even number of columns, and rows that a
    block divides at least twice.
    """
    if layer is None or layer.bits.weight != _INT4_BITS or layer.out_channels % 2:
        return None
    if layer.window != POINT or layer.groups != 1:
        return None
    return next((block for block in BLOCKS if layer.in_channels % block == 0 and layer.in_channels > block), None)


def _as_column(graph: GraphBuilder, operation: Operation, value: str) -> str:
    """Bring what a linear reads to (batch, features, 1, 1), which a Conv of size 1 reads."""
    if operation.input[1:] == (1, 1):
        return value
    features = math.prod(operation.input)
    shape = graph.constant(f"column.{features}", np.array([0, features, 1, 1], np.int64))
    return graph.node("Reshape", [value, shape], f"{operation.name}.column")


def _storage(layer: Layer) -> str:
    block = block_size(layer)
    if block is None:
        shape = f"{layer.in_channels}x{layer.out_channels}"
        return f"{layer.name}: its 4-bit weights are stored in 8 bits, {shape} has no blocks"
    return f"{layer.name}: weights stored in 4 bits, a float16 scale for each {block} of {layer.in_channels} inputs"


def _int4(name: str, values: np.ndarray) -> onnx.TensorProto:
    """Return a tensor of 4-bit integers, two to a byte with the first in the low half."""
    flat = values.astype(np.uint8).reshape(-1) & 0xF
    packed = (flat[0::2] | (flat[1::2] << 4)).astype(np.uint8)
    return helper.make_tensor(name, TensorProto.INT4, values.shape, packed.tobytes(), raw=True)
