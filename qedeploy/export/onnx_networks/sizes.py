"""The sizes of a model's inputs: what the file leaves open, the user gives with --shape, by input or by dimension.

`x=1x3x48x320` gives all sizes of input x, `1x3x48x320` those of the only input, `height=48` those of every dimension
that the file calls height. An open batch (the first dimension) that nobody gives becomes 1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import onnx

from qedeploy.errors import UserError

_SHAPE = re.compile(r"(?:(?P<name>.+)=)?(?P<sizes>\d+(?:x\d+)*)")
_LARGEST = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """What a user gave: `inputs` whole shapes by name (None: the only input), `dimensions` single sizes by name."""

    inputs: Mapping[str | None, tuple[int, ...]] = field(default_factory=dict)
    dimensions: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenInput:
    """An input as its file declares it: each size a number, a name where it is open, None where it is open unnamed."""

    name: str
    sizes: tuple[int | str | None, ...]


def parse_sizes(texts: Sequence[str]) -> Sizes:
    """Return the sizes of `--shape` texts; raises UserError for a text of another form or one given twice."""
    inputs: dict[str | None, tuple[int, ...]] = {}
    dimensions: dict[str, int] = {}
    for text in texts:
        match = _SHAPE.fullmatch(text.strip())
        sizes = tuple(int(size) for size in match["sizes"].split("x")) if match else ()
        if match is None or not all(1 <= size <= _LARGEST for size in sizes):
            raise UserError(f"--shape {text!r}: expected sizes of at least 1 such as x=1x3x224x224 or height=48")
        name = match["name"]
        twice = name in inputs or (name is not None and name in dimensions)
        if twice:
            raise UserError(f"--shape {text!r}: sizes of {name or 'the input'} are given twice: expected them once")
        if len(sizes) == 1 and name is not None:
            dimensions[name] = sizes[0]
        else:
            inputs[name] = sizes
    return Sizes(inputs=inputs, dimensions=dimensions)


def resolve_sizes(tensors: Sequence[OpenInput], sizes: Sizes, source: Path) -> dict[str, tuple[int, ...]]:
    """Return the shape of each input.

    Raises UserError where a size is open and not given (naming the option), contradicts the file, or was given for an
    input or a dimension that the file does not have.
    """
    names = {tensor.name for tensor in tensors}
    known = {size for tensor in tensors for size in tensor.sizes if isinstance(size, str)}
    single = {name for name, tensor in ((t.name, t) for t in tensors) if len(tensor.sizes) == 1}
    for name in sizes.inputs:
        if name is None and len(tensors) != 1:
            raise UserError(f"{source}: has inputs {', '.join(sorted(names))}: expected --shape NAME=SIZES for each")
        if name is not None and name not in names:
            raise UserError(f"{source}: --shape {name}=...: no such input, it has {', '.join(sorted(names))}")
    for name in sizes.dimensions:
        if name not in known and name not in single:
            has = f"open dimensions {', '.join(sorted(known))}" if known else "no open dimension that has a name"
            raise UserError(f"{source}: --shape {name}={sizes.dimensions[name]}: the file has {has}")
    return {tensor.name: _resolve(tensor, sizes, source) for tensor in tensors}


def declared_inputs(model: onnx.ModelProto) -> tuple[OpenInput, ...]:
    """Return the inputs of `model` that are no weights. A name such as '?' or 'unk__3' that says nothing is kept."""
    weights = {item.name for item in model.graph.initializer}
    return tuple(
        OpenInput(name=item.name, sizes=tuple(_size(size) for size in item.type.tensor_type.shape.dim))
        for item in model.graph.input
        if item.name not in weights
    )


def fix_sizes(model: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]]) -> onnx.ModelProto:
    """Return `model` with its inputs fixed to `shapes`; what other values' shapes were said to be is forgotten."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    for item in fixed.graph.input:
        if item.name in shapes:
            sizes = item.type.tensor_type.shape
            sizes.Clear()
            for size in shapes[item.name]:
                sizes.dim.add().dim_value = size
    for item in fixed.graph.output:
        item.type.tensor_type.ClearField("shape")
    del fixed.graph.value_info[:]
    return fixed


def _size(size: onnx.TensorShapeProto.Dimension) -> int | str | None:
    if size.HasField("dim_value") and size.dim_value > 0:
        return size.dim_value
    return size.dim_param or None


def _resolve(tensor: OpenInput, sizes: Sizes, source: Path) -> tuple[int, ...]:
    given = sizes.inputs.get(tensor.name, sizes.inputs.get(None))
    if given is None and len(tensor.sizes) == 1 and tensor.name in sizes.dimensions:
        given = (sizes.dimensions[tensor.name],)
    shown = "x".join("?" if not isinstance(size, int) else str(size) for size in tensor.sizes) or "scalar"
    if given is not None and len(given) != len(tensor.sizes):
        raise UserError(f"{source}: input {tensor.name!r} is {shown}: expected {len(tensor.sizes)} sizes in --shape")
    resolved = []
    for index, size in enumerate(tensor.sizes):
        wanted = given[index] if given is not None else None
        if isinstance(size, int):
            if wanted not in (None, size):
                raise UserError(
                    f"{source}: input {tensor.name!r}: size {index} is fixed at {size}, found {wanted} in --shape"
                )
            wanted = size
        elif wanted is None and size is not None:
            wanted = sizes.dimensions.get(size)
        if wanted is None and index == 0:
            wanted = 1
        if wanted is None:
            raise UserError(
                f"{source}: input {tensor.name!r} is {shown}, size {index} is open: give its sizes with "
                f"--shape {tensor.name}={_example(tensor)}, a number for each N"
            )
        resolved.append(wanted)
    return tuple(resolved)


def _example(tensor: OpenInput) -> str:
    open_sizes = ("1" if index == 0 else "N" for index, _ in enumerate(tensor.sizes))
    pairs = zip(tensor.sizes, open_sizes, strict=True)
    return "x".join(str(size) if isinstance(size, int) else stand_in for size, stand_in in pairs)
