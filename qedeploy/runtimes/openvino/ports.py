"""Inputs and outputs of an ONNX file by the names that its users know, which OpenVINO has several of for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qedeploy.errors import UserError
from qedeploy.runtimes.inputs import chosen_shape, open_shape_error, require_shapes
from qedeploy.runtimes.runner import InputTensor, RunnerOptions

if TYPE_CHECKING:
    from openvino import CompiledModel

_TYPES = {"float": np.float32, "double": np.float64, "bool": np.bool_}
"""ONNX's words for types that NumPy calls otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePorts:
    """Names in an ONNX file, in order; `aliases` has the node that makes an output by the output's name."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    aliases: Mapping[str, str]


def file_ports(path: Path) -> FilePorts:
    """Return the ports of an ONNX file that OpenVINO has read."""
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    constants = {tensor.name for tensor in graph.initializer}
    makers = {output: node for node in graph.node for output in node.output}
    aliases = {}
    for item in graph.output:
        node = makers.get(item.name)
        while node is not None and node.op_type == "Identity":
            node = makers.get(node.input[0])
        if node is not None:
            aliases[item.name] = node.name
    return FilePorts(
        inputs=tuple(item.name for item in graph.input if item.name not in constants),
        outputs=tuple(item.name for item in graph.output),
        aliases=aliases,
    )


def resolve_inputs(
    compiled: CompiledModel, names: tuple[str, ...], path: Path, options: RunnerOptions
) -> tuple[InputTensor, ...]:
    """Return the inputs with their open sizes set; raises UserError naming the input that cannot be made up."""
    if not names:
        raise UserError(f"{path}: has no inputs: expected a model that computes from at least one")
    require_shapes(path, names, options.shapes)
    found = []
    for name, port in zip(names, compiled.inputs, strict=True):
        there = tuple(None if size.is_dynamic else size.get_length() for size in port.partial_shape)
        shape = chosen_shape(path, name, there, options.shapes)
        if shape and shape[0] is None:
            shape = (options.batch or 1, *shape[1:])
        elif shape and options.batch not in (None, shape[0]):
            raise UserError(
                f"{path}: input {name!r}: its batch is fixed at {shape[0]}: expected --batch {shape[0]}, found --batch "
                f"{options.batch}"
            )
        sizes = tuple(size for size in shape if size is not None)
        if len(sizes) < len(shape):
            raise open_shape_error(path, name, there)
        kind = np.dtype(port.element_type.to_dtype())
        word = next((word for word, dtype in _TYPES.items() if np.dtype(dtype) == kind), kind.name)
        found.append(InputTensor(name=name, element_type=f"tensor({word})", shape=sizes))
    return tuple(found)


def dtype_of(tensor: InputTensor) -> np.dtype[Any]:
    """Return NumPy's type of an input."""
    word = tensor.element_type.removeprefix("tensor(").removesuffix(")")
    return np.dtype(_TYPES.get(word, word))


def open_batch(compiled: CompiledModel) -> bool:
    """Return whether every input leaves its first size open."""
    return all(len(port.partial_shape) and port.partial_shape[0].is_dynamic for port in compiled.inputs)
