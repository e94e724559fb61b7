"""Writing a lowered network as ONNX: walks its operations and lets the dialect say each in its own way."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import onnx
from onnx import TensorProto, helper

from qedeploy.network.layers import Dimensions
from qedeploy.network.operations import IMAGE, Operation, OperationKind
from qedeploy.qdq.dialect import Dialect, Quantized
from qedeploy.qdq.graph_builder import GraphBuilder
from qedeploy.qdq.lowered import LoweredNetwork
from qedeploy.qdq.plan import ValuePlan

LOGITS = "logits"
"""Name of the graph's output."""

FRAGMENT_INPUT, FRAGMENT_OUTPUT = "input", "output"
"""Names of a fragment's input and output."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WrittenModel:
    """A model and where the network's values are in it, by their names: `values` before rounding, `quantized` after."""

    model: onnx.ModelProto
    values: Mapping[str, str]
    quantized: Mapping[str, Quantized]


def write_model(
    network: LoweredNetwork, dialect: Dialect, *, batch: int | None = None, metadata: Mapping[str, str] | None = None
) -> WrittenModel:
    """Return `network`, arranged by `dialect`, as an ONNX model.

    Input `image`: float32 (batch, channels, height, width), normalised. Output `logits`: float32, what the
    last operation makes, (batch, classes) behind a classifier. `batch` None leaves the batch open.
    """
    graph = GraphBuilder()
    values, quantized = _write_steps(
        graph, network, dialect, network.graph.operations, dialect.write_input(graph, IMAGE), output=LOGITS
    )
    model = graph.model(
        "qedeploy",
        inputs=[_info(IMAGE, network.graph.input, batch)],
        outputs=[_info(LOGITS, network.graph.output, batch)],
        opset=dialect.opset,
        metadata=metadata or {},
    )
    return WrittenModel(model=model, values=values, quantized=quantized)


def write_fragment(
    network: LoweredNetwork, dialect: Dialect, blocks: Collection[str], *, batch: int | None = None
) -> onnx.ModelProto:
    """Return the adjoining `blocks` of `network`, arranged by `dialect`, as an ONNX model of their own.

    A block is named as `Layer.block` is (`stem`, `stage1.block1`, `head`; `classifier` brings the pooling before it).
    Input `input` and output `output` are float32; both are quantized as within the whole network.
    """
    steps = tuple(step for step in network.graph.operations if block_of(step) in blocks)
    first, last = steps[0], steps[-1]
    graph = GraphBuilder()
    _write_steps(graph, network, dialect, steps, dialect.write_input(graph, FRAGMENT_INPUT), output=FRAGMENT_OUTPUT)
    return graph.model(
        "qedeploy",
        inputs=[_info(FRAGMENT_INPUT, first.input, batch)],
        outputs=[_info(FRAGMENT_OUTPUT, last.output, batch)],
        opset=dialect.opset,
        metadata={},
    )


def _write_steps(
    graph: GraphBuilder,
    network: LoweredNetwork,
    dialect: Dialect,
    steps: Sequence[Operation],
    source: str,
    *,
    output: str,
) -> tuple[dict[str, str], dict[str, Quantized]]:
    """Write adjoining `steps` behind the value `source`; returns the values before and after rounding, by name."""
    plans = {value.name: value for value in network.plan.values}
    layers = {layer.name: layer for layer in network.graph.layers}
    quantized: dict[str, Quantized] = {}
    values: dict[str, str] = {}

    def round_value(name: str, value: str) -> str:
        values[name] = value
        plan = plans.get(name)
        if plan is None:
            return value
        reader = layers[plan.reader] if plan.reader is not None else None
        quantized[name] = dialect.write_quantization(
            graph, value, quantization_name(plan), plan.grid, producer=layers.get(name), reader=reader
        )
        return quantized[name].value

    written = {steps[0].inputs[0]: round_value(steps[0].inputs[0], source)}
    for step in steps:
        own, read = plans.get(step.name), plans.get(step.inputs[0])
        value = dialect.write_operation(
            graph,
            step,
            [written[name] for name in step.inputs],
            network.layers.get(step.name),
            read.grid if read else None,
            own.grid if own else None,
        )
        written[step.name] = round_value(step.name, value)
    values[steps[-1].name] = dialect.write_output(graph, written[steps[-1].name], output)
    return values, quantized


def block_of(step: Operation) -> str:
    """Return the block of an operation, as `Layer.block` names it; the pooling before a classifier is its."""
    if step.layer is not None:
        return step.layer.block
    return "classifier" if step.kind is OperationKind.GLOBAL_AVERAGE_POOL else step.name.rpartition(".")[0]


def quantization_name(value: ValuePlan) -> str:
    """Return the prefix of a value's Q and DQ nodes: the layer that reads it, or the value itself for a point."""
    return value.reader if value.reader is not None else f"{value.name}.output"


def _info(name: str, sizes: Dimensions, batch: int | None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch or "batch", *sizes])
