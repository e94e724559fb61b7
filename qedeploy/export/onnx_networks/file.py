"""Reading an ONNX file that somebody else wrote: whole, float, of ONNX's own operators, or an error that says why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import GraphProto, NodeProto, TensorProto, numpy_helper

from qedeploy.contents import ContentKind, found_instead
from qedeploy.errors import RequestError, UserError
from qedeploy.export.onnx_networks.editor import ONNX_DOMAINS, attribute
from qedeploy.files import read_bytes
from qedeploy.words import listed

OLDEST_OPSET = 7
LAYER_OPERATORS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
QUANTIZED_OPERATORS = frozenset(
    {
        "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger",
        "MatMulInteger", "QGemm", "QLinearAdd", "MatMulNBits",
    }
)  # fmt: skip
CONTROL_FLOW = ("If", "Loop", "Scan")


def read_model(path: Path) -> onnx.ModelProto:
    """Return the model in `path` with its external weights.

    Raises UserError for a file that cannot be read, is no ONNX model, lacks a file of its weights, or is older than
    opset 7.
    """
    content = read_bytes(path)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except Exception as error:  # protobuf's errors have no common base that it makes public
        found = found_instead(content, ContentKind.ONNX) or ": export or copy it again"
        raise UserError(f"{path}: not an ONNX model, or one cut short{found}") from error
    if not model.graph.node and not model.graph.input:
        found = found_instead(content, ContentKind.ONNX) or ": expected a graph with inputs and operators"
        raise UserError(f"{path}: not an ONNX model, or an empty one{found}")
    _load_external(model, path)
    opset = opset_of(model)
    if opset is None or opset < OLDEST_OPSET:
        found = "no version" if opset is None else f"opset {opset}"
        raise UserError(
            f"{path}: expected ONNX's operators of opset {OLDEST_OPSET} or later, found {found}: export it again with "
            "opset_version=17"
        )
    return model


def opset_of(model: onnx.ModelProto) -> int | None:
    """Return the version of ONNX's own operators that `model` uses."""
    return next((item.version for item in model.opset_import if item.domain in ONNX_DOMAINS), None)


def require_float(model: onnx.ModelProto, path: Path) -> None:
    """Raise RequestError where `model` is quantized already, UserError where a weight is not a finite number."""
    counts = Counter(node.op_type for node in every_node(model.graph) if node.op_type in QUANTIZED_OPERATORS)
    if counts:
        found = listed((f"{count} {name}" for name, count in counts.most_common()))
        raise RequestError(
            f"{path}: is quantized already ({found}): expected the float model that it was made from; "
            "`qedeploy bench` shows what of it runs in integers"
        )
    consumers: dict[str, NodeProto] = {}
    for node in model.graph.node:
        for name in node.input:
            consumers.setdefault(name, node)
    for tensor in (*model.graph.initializer, *_constant_tensors(model.graph)):
        if tensor.data_type not in {TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16}:
            continue
        array = numpy_helper.to_array(tensor)
        reader = consumers.get(tensor.name)
        is_weight = reader is not None and reader.op_type in LAYER_OPERATORS
        # An attention mask may well hold minus infinity; a weight may not, and NaN is right nowhere.
        if np.isnan(array).any() or (is_weight and not np.isfinite(array).all()):
            of = f" of {reader.name or reader.output[0]}" if reader is not None else ""
            raise UserError(f"{path}: constant {tensor.name!r}{of} holds NaN or infinity: expected finite weights")


def require_plain(model: onnx.ModelProto, path: Path) -> None:
    """Raise RequestError for operators that are not ONNX's, layers inside control flow, or a graph without layers."""
    foreign = sorted({f"{node.domain}.{node.op_type}" for node in every_node(model.graph) if _foreign(node)})
    if foreign:
        raise RequestError(
            f"{path}: uses operators that are not ONNX's own ({listed(foreign)}): expected a model without them; "
            "export it again without custom operators, or take the file from before a runtime optimised it"
        )
    for node in model.graph.node:
        inside = [inner.op_type for inner in inner_nodes(node) if inner.op_type in LAYER_OPERATORS]
        if node.op_type in CONTROL_FLOW and inside:
            raise RequestError(
                f"{path}: {node.op_type} {node.name or node.output[0]!r} holds layers ({listed(inside)}): expected "
                "them outside control flow; export the model with the branch or the number of steps fixed"
            )
    if not any(node.op_type in LAYER_OPERATORS for node in model.graph.node):
        raise RequestError(
            f"{path}: has no layer ({', '.join(LAYER_OPERATORS)}): there is nothing whose precision could be chosen"
        )


def every_node(graph: GraphProto) -> Iterator[NodeProto]:
    """Yield the nodes of `graph` and of the graphs inside its nodes."""
    for node in graph.node:
        yield node
        yield from inner_nodes(node)


def inner_nodes(node: NodeProto) -> Iterator[NodeProto]:
    """Yield the nodes of the graphs inside `node` (the branches of an If, the body of a Loop)."""
    for item in node.attribute:
        for graph in (*((item.g,) if item.HasField("g") else ()), *item.graphs):
            yield from every_node(graph)


def _foreign(node: NodeProto) -> bool:
    return node.domain not in ONNX_DOMAINS


def _constant_tensors(graph: GraphProto) -> Iterator[TensorProto]:
    for node in every_node(graph):
        if node.op_type == "Constant":
            value = attribute(node, "value")
            if isinstance(value, TensorProto):
                tensor = TensorProto()
                tensor.CopyFrom(value)
                tensor.name = node.output[0]
                yield tensor


def _load_external(model: onnx.ModelProto, path: Path) -> None:
    from onnx import external_data_helper

    names = sorted(
        {
            entry.value
            for tensor in model.graph.initializer
            if external_data_helper.uses_external_data(tensor)
            for entry in tensor.external_data
            if entry.key == "location"
        }
    )
    missing = [name for name in names if not (path.parent / name).is_file()]
    if missing:
        raise UserError(
            f"{path}: its weights are in {listed(missing)}, which is not there: expected the file beside the model, "
            "copy it too"
        )
    if not names:
        return
    try:
        external_data_helper.load_external_data_for_model(model, str(path.parent))
    except Exception as error:  # onnx raises ValueError, RuntimeError and its own for files that are cut short
        raise UserError(
            f"{path}: its weights in {listed(names)} cannot be read ({error}): copy the files again"
        ) from error
