"""A graph under change: who makes a value, who reads it, what is constant; rewrites keep the execution order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper, shape_inference

ONNX_DOMAINS = ("", "ai.onnx")
"""The names of ONNX's own operator set."""


class GraphEditor:
    """The top-level graph of `model`, which is not changed: `model()` returns a new one."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = model
        self.nodes: list[NodeProto] = list(model.graph.node)
        self._constants: dict[str, NDArray[np.generic]] = {
            item.name: numpy_helper.to_array(item) for item in model.graph.initializer
        }
        self._outputs = {item.name for item in model.graph.output}
        inferred = shape_inference.infer_shapes(model, data_prop=True)
        self._shapes, self._types = value_shapes(inferred), value_types(inferred)
        self._producers: dict[str, NodeProto] = {}
        self._consumers: dict[str, list[NodeProto]] = {}
        self._index()

    def constant(self, value: str) -> NDArray[np.generic] | None:
        """Return the number or array that `value` always is, None where it is computed."""
        return self._constants.get(value)

    def scalar(self, value: str) -> float | None:
        """Return the one number that `value` always is, None where it is none."""
        array = self._constants.get(value)
        return float(array.reshape(-1)[0]) if array is not None and array.size == 1 else None

    def shape(self, value: str) -> tuple[int, ...] | None:
        """Return the shape of `value`, None where it is not known."""
        return self._shapes.get(value)

    def is_float(self, value: str) -> bool:
        """Return whether `value` is known to hold float32 numbers."""
        return self._types.get(value) == TensorProto.FLOAT

    def producer(self, value: str) -> NodeProto | None:
        """Return the node that makes `value`, None for inputs and constants."""
        return self._producers.get(value)

    def consumers(self, value: str) -> Sequence[NodeProto]:
        """Return the nodes that read `value`, each once."""
        return self._consumers.get(value, ())

    def sole_consumer(self, value: str) -> NodeProto | None:
        """Return the one node that reads `value`; None where there are more, or where the network returns it."""
        readers = self.consumers(value)
        return readers[0] if len(readers) == 1 and value not in self._outputs else None

    def computed_inputs(self, node: NodeProto) -> tuple[str, ...]:
        """Return the inputs of `node` that are no constants."""
        return tuple(name for name in node.input if name and name not in self._constants)

    def add_constant(self, stem: str, array: NDArray[np.generic]) -> str:
        """Add a constant under a name of its own that begins with `stem`; returns the name."""
        name = self.free_name(stem)
        self._constants[name] = array
        return name

    def free_name(self, stem: str) -> str:
        """Return `stem`, with a number behind it where a value already has that name."""
        taken, name, number = self._constants.keys() | self._producers.keys() | self._consumers.keys(), stem, 2
        while name in taken:
            name, number = f"{stem}.{number}", number + 1
        return name

    def replace(self, old: Iterable[NodeProto], new: Sequence[NodeProto]) -> None:
        """Put `new` where the last of `old` was; the others of `old` go. Shapes of values that stay are kept."""
        gone = {id(node) for node in old}
        last = max(index for index, node in enumerate(self.nodes) if id(node) in gone)
        kept = [node for node in self.nodes[: last + 1] if id(node) not in gone]
        self.nodes = [*kept, *new, *self.nodes[last + 1 :]]
        self._index()

    def model(self) -> onnx.ModelProto:
        """Return the model as it is now, without constants that nothing reads and without what was inferred."""
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        graph = model.graph
        read = {name for node in self.nodes for name in all_inputs(node)} | self._outputs
        del graph.node[:], graph.initializer[:], graph.value_info[:]
        graph.node.extend(self.nodes)
        graph.initializer.extend(
            numpy_helper.from_array(np.asarray(array), name) for name, array in self._constants.items() if name in read
        )
        return model

    def _index(self) -> None:
        self._producers = {value: node for node in self.nodes for value in node.output if value}
        self._consumers = {}
        for node in self.nodes:
            for value in dict.fromkeys(all_inputs(node)):
                self._consumers.setdefault(value, []).append(node)


def value_shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Return the shape of every value of an inferred `model` whose sizes are all known."""
    shapes: dict[str, tuple[int, ...]] = {item.name: tuple(item.dims) for item in model.graph.initializer}
    for item in _declared(model):
        sizes = item.type.tensor_type.shape.dim
        if item.type.tensor_type.HasField("shape") and all(size.HasField("dim_value") for size in sizes):
            shapes[item.name] = tuple(size.dim_value for size in sizes)
    return shapes


def value_types(model: onnx.ModelProto) -> dict[str, int]:
    """Return the element type of every value of an inferred `model` that is known."""
    return {item.name: item.type.tensor_type.elem_type for item in _declared(model)}


def _declared(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    graph = model.graph
    return [item for item in (*graph.input, *graph.output, *graph.value_info) if item.type.HasField("tensor_type")]


def attribute(node: NodeProto, name: str, default: Any = None) -> Any:
    """Return the value of one of the node's attributes, `default` where it has none of that name."""
    found = next((item for item in node.attribute if item.name == name), None)
    return default if found is None else helper.get_attribute_value(found)


def all_inputs(node: NodeProto) -> list[str]:
    """Return what `node` reads, with what the graphs inside it read from outside."""
    names = [name for name in node.input if name]
    for item in node.attribute:
        for graph in (*((item.g,) if item.HasField("g") else ()), *item.graphs):
            names.extend(name for inner in graph.node for name in all_inputs(inner))
            names.extend(output.name for output in graph.output)
    return names
