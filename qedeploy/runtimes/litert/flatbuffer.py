"""Writing a program as a .tflite file, with the Python bindings of LiteRT's own schema."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from qedeploy import __version__
from qedeploy.runtimes.litert.int4 import packed
from qedeploy.runtimes.litert.program import Call, Operator, Program, Tensor, version

_IDENTIFIER = b"TFL3"
_SCHEMA_VERSION = 3
_ALIGNMENT = 16
"""What the schema wants of a constant's address: kernels read them where they lie in the file."""


class _AlignedBuffer(schema.BufferT):  # type: ignore[misc]
    """A buffer whose data are aligned as the schema says, which the generated code leaves out."""

    def __init__(self, content: NDArray[Any]) -> None:
        super().__init__()
        self.content = content

    def Pack(self, builder: Any) -> Any:  # noqa: N802 - the generated code calls it
        """Add the data and the table of the buffer; returns its offset."""
        raw = np.ascontiguousarray(self.content).tobytes()
        builder.StartVector(1, len(raw), _ALIGNMENT)
        builder.head = builder.Head() - len(raw)
        builder.Bytes[builder.Head() : builder.Head() + len(raw)] = raw
        data = builder.EndVector()
        schema.BufferStart(builder)
        schema.BufferAddData(builder, data)
        return schema.BufferEnd(builder)


def to_flatbuffer(program: Program) -> bytes:
    """Return the content of a .tflite file that computes `program`."""
    indices = {name: index for index, name in enumerate(program.tensors)}
    operators = list(dict.fromkeys(call.operator for call in program.calls))
    model = schema.ModelT()
    model.version = _SCHEMA_VERSION
    model.description = f"qedeploy {__version__}"
    # By convention the first buffer is empty: tensors that are computed refer to it.
    model.buffers = [schema.BufferT()]
    model.operatorCodes = [_operator_code(operator, program) for operator in operators]
    graph = schema.SubGraphT()
    graph.name = "main"
    graph.tensors = [_tensor(tensor, model.buffers) for tensor in program.tensors.values()]
    graph.inputs, graph.outputs = [indices[program.source]], [indices[program.result]]
    graph.operators = [_call(call, program, indices, operators) for call in program.calls]
    model.subgraphs = [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), _IDENTIFIER)
    return bytes(builder.Output())


def _operator_code(operator: Operator, program: Program) -> Any:
    code = schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, operator)
    code.deprecatedBuiltinCode = code.builtinCode
    code.version = version(operator, program)
    return code


def _tensor(tensor: Tensor, buffers: list[Any]) -> Any:
    found = schema.TensorT()
    found.name = tensor.name
    found.shape = list(tensor.shape)
    found.type = _element_type(tensor)
    found.hasRank = True
    if tensor.data is not None:
        found.buffer = len(buffers)
        held = tensor.data.astype(tensor.dtype)
        buffers.append(_AlignedBuffer(packed(held) if tensor.int4 else held))
    if tensor.scale is not None:
        quantization = schema.QuantizationParametersT()
        quantization.scale = tensor.scale
        quantization.zeroPoint = np.full(len(tensor.scale), tensor.zero_point, np.int64)
        quantization.quantizedDimension = tensor.axis if len(tensor.scale) > 1 else 0
        found.quantization = quantization
    return found


def _element_type(tensor: Tensor) -> int:
    name = "INT4" if tensor.int4 else "INT8" if tensor.dtype is np.int8 else "INT32"
    return int(getattr(schema.TensorType, name))


def _call(call: Call, program: Program, indices: dict[str, int], operators: list[Operator]) -> Any:
    found = schema.OperatorT()
    found.opcodeIndex = operators.index(call.operator)
    found.inputs = [indices[name] for name in call.inputs]
    found.outputs = [indices[call.output]]
    kind, found.builtinOptions = _options(call, program)
    found.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
    return found


def _options(call: Call, program: Program) -> tuple[str, Any]:
    place = call.placement
    match call.operator:
        case Operator.CONVOLUTION:
            options = schema.Conv2DOptionsT()
        case Operator.DEPTHWISE:
            options = schema.DepthwiseConv2DOptionsT()
            options.depthMultiplier = program.tensors[call.output].shape[3] // program.tensors[call.inputs[0]].shape[3]
        case Operator.AVERAGE_POOL:
            options = schema.Pool2DOptionsT()
            options.filterHeight, options.filterWidth = place.kernel
        case Operator.ADD:
            options = schema.AddOptionsT()
        case Operator.MEAN:
            options = schema.ReducerOptionsT(keepDims=True)
            return "ReducerOptions", options
        case Operator.RESHAPE:
            return "ReshapeOptions", schema.ReshapeOptionsT()
        case Operator.MAXIMUM:
            return "MaximumMinimumOptions", schema.MaximumMinimumOptionsT()
    if call.relu:
        options.fusedActivationFunction = schema.ActivationFunctionType.RELU
    if call.operator is not Operator.ADD:
        options.padding = schema.Padding.SAME if place.same else schema.Padding.VALID
        options.strideH, options.strideW = place.stride
        if call.operator is not Operator.AVERAGE_POOL:
            options.dilationHFactor, options.dilationWFactor = place.dilation
    return type(options).__name__.removesuffix("T"), options
