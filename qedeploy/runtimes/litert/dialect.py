"""LiteRT's full-integer form as QDQ: int8 everywhere, weights per output channel, a scale for every value.

The ONNX file holds the numbers of model.tflite, which is written from the same plan: it is what PyTorch and ONNX
Runtime verify. Source of the form: LiteRT's 8-bit quantization specification.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Sequence
from typing import ClassVar

import numpy as np

from qedeploy.errors import RequestError
from qedeploy.network.layers import Layer, LayerKind
from qedeploy.network.operations import Operation, OperationKind
from qedeploy.network.structure import Bits
from qedeploy.profiles.profile import Lowering
from qedeploy.qdq import nodes
from qedeploy.qdq.dialect import EXACT, QuantizationPoint, Quantized, Rounding, new_points
from qedeploy.qdq.fold import FoldedLayer, groups_of
from qedeploy.qdq.graph_builder import GraphBuilder
from qedeploy.qdq.lowered import LoweredNetwork
from qedeploy.qdq.plan import Grid, LoweringPlan
from qedeploy.runtimes.litert.int4 import HIGHEST_INT4, held_in_int4
from qedeploy.runtimes.litert.zero_points import HIGHEST, LOWEST, lowest, zero_point

_POINT_BITS = 8
_SMALLEST_WEIGHT = -127
"""The specification leaves -128 out, so that two products of an ARM kernel fit 16 bits."""


class LiteRTDialect:
    """The graph whose numbers a full-integer .tflite file computes."""

    name: ClassVar[str] = "litert"
    runtime: ClassVar[str] = "litert"
    opset: ClassVar[int] = 17
    lowerings: ClassVar[frozenset[Lowering]] = frozenset({Lowering.INT8, Lowering.INT16})
    integer_bias: ClassVar[bool] = True
    unsigned_activation_bits: ClassVar[int] = 8
    channel_multiple: ClassVar[int] = 1
    rounding: ClassVar[Rounding] = Rounding(share=EXACT.share, optimize=False)
    # The ONNX file is not what runs: it is taken literally, where fusions for another runtime could move a rounding.
    float_tolerance: ClassVar[float] = 1e-4

    def exact_form(self) -> None:
        """Return None: around its integers the ONNX graph is float32."""

    def highest_weight(self, lowering: Lowering, bits: Bits) -> int:
        """Return 7 for weights that are held in int4, else 127."""
        del lowering
        return HIGHEST_INT4 if held_in_int4(bits) else HIGHEST

    def points(self, steps: Iterable[Operation], quantized: Collection[str]) -> tuple[QuantizationPoint, ...]:
        """Return every value that no layer rounds, the logits too: a full-integer file has no other values.

        Raises RequestError naming an operation that is not done in integers of 8 bits.
        """
        found = []
        for step in steps:
            if step.kind is OperationKind.FLOAT:
                raise RequestError(
                    f"{step.name}: is computed in floating point, and a full-integer LiteRT file holds integers alone: "
                    "choose another profile"
                )
            if step.layer is not None and max(step.layer.bits.weight, step.layer.bits.activation) > _POINT_BITS:
                raise RequestError(
                    f"{step.name}: is {step.layer.bits}, and a full-integer LiteRT file holds at most {_POINT_BITS} "
                    "bits: choose another profile"
                )
            found.append(_point(step))
        return new_points(found, quantized)

    def arrange(self, network: LoweredNetwork) -> LoweredNetwork:
        """Take -128 out of the weights, and give poolings of odd sizes the grid of what they read.

        LiteRT averages on one grid for input and output. Even sizes are averaged by a convolution, which has two.
        """
        clipped = {name: int(np.count_nonzero(layer.weight < _SMALLEST_WEIGHT)) for name, layer in _integer(network)}
        layers = {
            name: dataclasses.replace(layer, weight=np.maximum(layer.weight, np.int8(_SMALLEST_WEIGHT)))
            for name, layer in _integer(network)
        }
        plan = dataclasses.replace(
            network.plan,
            layers=tuple(
                layer
                if not clipped.get(layer.name)
                else dataclasses.replace(
                    layer,
                    weight_low=_SMALLEST_WEIGHT,
                    clipped_weights=layer.clipped_weights + clipped[layer.name],
                )
                for layer in network.plan.layers
            ),
        )
        pools = [
            step
            for step in network.graph.operations
            if step.kind is OperationKind.AVERAGE_POOL and not halves(step) and step.inputs[0] in plan.grids()
        ]
        return dataclasses.replace(
            network, plan=_on_one_grid(plan, pools), layers={**network.layers, **layers} if layers else network.layers
        )

    def write_input(self, graph: GraphBuilder, value: str) -> str:
        """Leave the input as it is: whoever feeds a full-integer file rounds it, here the graph does."""
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
        """Write Q, an integer Clip of the lower end where that is not int8's, and DQ."""
        del producer, reader
        zero = zero_point(grid)
        scale = graph.constant(f"{name}.scale", np.float32(grid.step))
        offset = graph.constant(f"zero_point.{zero}", np.int8(zero))
        integers = graph.node("QuantizeLinear", [value, scale, offset], f"{name}.quantize")
        if lowest(grid) > LOWEST:
            bound = graph.constant(f"bound.{lowest(grid)}", np.int8(lowest(grid)))
            integers = graph.node("Clip", [integers, bound], f"{name}.clip")
        dequantized = graph.node("DequantizeLinear", [integers, scale, offset], f"{name}.dequantize")
        return Quantized(value=dequantized, integers=integers, zero_point=zero)

    def write_operation(
        self,
        graph: GraphBuilder,
        operation: Operation,
        inputs: Sequence[str],
        layer: FoldedLayer | None,
        grid: Grid | None,
        output_grid: Grid | None,
    ) -> str:
        """Write one operation; its activation is the range of its output's grid."""
        del output_grid
        if operation.layer is None or layer is None:
            return nodes.weightless(graph, operation, inputs)
        operands = [
            nodes.weight(graph, operation.name, layer),
            nodes.bias(graph, operation.name, layer, grid),
        ]
        if operation.layer.kind is LayerKind.LINEAR:
            value = inputs[0]
            if len(operation.layer.input) > 1:
                value = graph.node("Flatten", [value], f"{operation.name}.flatten")
            return nodes.linear(graph, operation.layer, [value, *operands])
        groups = groups_of(operation.layer, layer.weight.shape[0])
        return nodes.convolution(graph, operation.layer, [inputs[0], *operands], groups=groups)

    def write_output(self, graph: GraphBuilder, value: str, name: str) -> str:
        """Give the logits their name."""
        return graph.node("Identity", [value], name)


def halves(pool: Operation) -> bool:
    """Return whether every window of a pooling is whole."""
    return not any(size % 2 for size in pool.input[1:])


def _integer(network: LoweredNetwork) -> list[tuple[str, FoldedLayer]]:
    return [(name, layer) for name, layer in network.layers.items() if layer.scale is not None]


def _on_one_grid(plan: LoweringPlan, pools: Sequence[Operation]) -> LoweringPlan:
    grids = plan.grids()
    for pool in pools:
        grids[pool.name] = grids[pool.inputs[0]]
    notes = tuple(f"{pool.name}: pooled on the grid of {pool.inputs[0]}, its size being odd" for pool in pools)
    values = tuple(dataclasses.replace(value, grid=grids[value.name]) for value in plan.values)
    return dataclasses.replace(plan, values=values, notes=(*plan.notes, *notes))


def _point(step: Operation) -> QuantizationPoint:
    return QuantizationPoint(
        value=step.name,
        bits=_POINT_BITS,
        signed=not step.nonnegative,
        nonnegative=step.nonnegative,
        ceiling=step.ceiling,
        reason="a full-integer file has every value in int8",
    )
