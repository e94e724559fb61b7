"""A float32 graph in float16 between casts at both ends, for runtimes that compute in the types of the graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from qedeploy.errors import RequestError
from qedeploy.export.onnx_networks.editor import GraphEditor, attribute
from qedeploy.export.onnx_networks.file import inner_nodes

_LARGEST = float(np.finfo(np.float16).max)
_FLOAT32_INPUTS = {"Resize": (1, 2), "Upsample": (1,)}
"""Inputs that are float32 whatever the others are: scales and regions of a resizing."""

_FLOAT32_ALONE = frozenset(
    {
        "Range", "NonMaxSuppression", "Multinomial", "RandomNormal", "RandomUniform", "RandomNormalLike",
        "RandomUniformLike", "EyeLike", "STFT", "DFT", "MelWeightMatrix",
    }
)  # fmt: skip
"""Operators that ONNX has not in float16, or whose result's type is an attribute: they keep float32 between casts."""


def in_half(model: onnx.ModelProto, source: Path) -> onnx.ModelProto:
    """Return `model`, of the file `source`, computing in float16; inputs and outputs stay float32.

    Constants beyond the range of float16, such as those of masks, become its largest number. Raises RequestError where
    the graph has branches or loops, whose types are not rewritten.
    """
    for node in model.graph.node:
        if any(True for _ in inner_nodes(node)):
            raise RequestError(
                f"{source}: {node.op_type} {node.name or node.output[0]!r} is control flow, which is not written in "
                "float16: export the model with the branch or the number of steps fixed"
            )
    return _Converter(model).model()


class _Converter:
    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = model
        self._editor = GraphEditor(model)
        self._inputs = {item.name for item in model.graph.input}
        self._outputs = {item.name for item in model.graph.output if self._editor.is_float(item.name)}
        self._floats = {
            item.name: np.asarray(numpy_helper.to_array(item))
            for item in model.graph.initializer
            if item.data_type == TensorProto.FLOAT
        }
        self._nodes: list[NodeProto] = []
        self._constants: dict[str, NDArray[np.generic]] = {}
        self._names: dict[str, str] = {}

    def model(self) -> onnx.ModelProto:
        """Return the model in float16."""
        for item in self._model.graph.input:
            if self._editor.is_float(item.name):
                self._cast(item.name, self._half_name(item.name), TensorProto.FLOAT16)
        for node in self._editor.nodes:
            self._add(node)
        for name in sorted(self._outputs):
            self._cast(self._half_name(name), name, TensorProto.FLOAT)
        changed = onnx.ModelProto()
        changed.CopyFrom(self._model)
        graph = changed.graph
        del graph.node[:], graph.initializer[:], graph.value_info[:]
        graph.node.extend(self._nodes)
        graph.initializer.extend(item for item in self._model.graph.initializer if item.name not in self._floats)
        graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in self._constants.items())
        return changed

    def _add(self, node: NodeProto) -> None:
        copy = NodeProto()
        copy.CopyFrom(node)
        alone = node.op_type in _FLOAT32_ALONE
        kept = range(len(node.input)) if alone else _FLOAT32_INPUTS.get(node.op_type, ())
        for place, value in enumerate(node.input):
            if value in self._floats or self._editor.is_float(value):
                copy.input[place] = self._in_float32(value) if place in kept else self._in_half(value)
        made = [value for value in node.output if self._editor.is_float(value)]
        for place, value in enumerate(node.output):
            if value in made:
                copy.output[place] = self._name(f"{value}.float32") if alone else self._half_name(value)
        if not alone:
            _retype(copy)
        self._nodes.append(copy)
        if alone:
            for value in made:
                self._cast(self._name(f"{value}.float32"), self._half_name(value), TensorProto.FLOAT16)

    def _in_half(self, value: str) -> str:
        if value not in self._floats:
            return self._half_name(value)
        limited = np.clip(self._floats[value], -_LARGEST, _LARGEST)
        # Infinities are meant: masks have them.
        exact = np.where(np.isinf(self._floats[value]), self._floats[value], limited)
        self._constants.setdefault(value, exact.astype(np.float16))
        return value

    def _in_float32(self, value: str) -> str:
        name = self._name(f"{value}.float32")
        if value in self._floats:
            self._constants.setdefault(name, self._floats[value])
        elif not any(name in node.output for node in self._nodes):
            self._cast(self._half_name(value), name, TensorProto.FLOAT)
        return name

    def _half_name(self, value: str) -> str:
        """Return what `value` is called in float16: only inputs and outputs of the network have another type too."""
        return self._name(f"{value}.half") if value in self._inputs | self._outputs else value

    def _cast(self, value: str, result: str, element_type: int) -> None:
        self._nodes.append(helper.make_node("Cast", [value], [result], name=f"{result}.cast", to=element_type))

    def _name(self, wanted: str) -> str:
        return self._names.setdefault(wanted, self._editor.free_name(wanted))


def _retype(node: NodeProto) -> None:
    """Let a node that says a type say float16 where it said float32."""
    for item in node.attribute:
        if item.name in {"to", "dtype", "output_dtype"} and item.i == TensorProto.FLOAT:
            item.i = TensorProto.FLOAT16
        if item.name == "value" and item.t.data_type == TensorProto.FLOAT:
            array = np.clip(numpy_helper.to_array(attribute(node, "value")), -_LARGEST, _LARGEST)
            item.t.CopyFrom(numpy_helper.from_array(array.astype(np.float16)))
