"""Inputs of models: random values for timing, and values of a caller, checked."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from qedeploy.errors import UserError
from qedeploy.network.limits import MAX_VALUES
from qedeploy.network.structure import MAX_SIZE

OpenShape = tuple[int | None, ...]
"""A shape whose None dimensions take any size."""


def random_values(shape: tuple[int, ...], dtype: DTypeLike, generator: np.random.Generator) -> NDArray[Any]:
    """Return random values, the same ones for every runtime and the same seed.

    None of them is zero: zeros run faster and draw less power than real values. Floating
    point values are 0.05 to 2 of either sign, whole numbers 1 to 100 and booleans true.
    """
    kind = np.dtype(dtype).kind
    if kind == "f":
        sign = generator.choice((-1.0, 1.0), shape)
        return np.asarray(generator.uniform(0.05, 2.0, shape) * sign, dtype)
    if kind == "b":
        return np.ones(shape, dtype)
    return np.asarray(generator.integers(1, 101, shape), dtype)


def parse_shapes(texts: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of texts such as `image=1x3x224x224`, by the inputs' names; raises UserError for others."""
    found = {}
    for text in texts:
        name, _, shape = text.rpartition("=")
        sizes = shape.lower().split("x")
        if not name or not all(size.isascii() and size.isdigit() and 0 < int(size[:9]) <= MAX_SIZE for size in sizes):
            raise UserError(f"--shape {text!r:.80}: expected an input and its sizes, such as image=1x3x224x224")
        found[name] = tuple(map(int, sizes))
        if math.prod(found[name]) > MAX_VALUES:
            raise UserError(f"--shape {text!r:.80}: expected an input of at most {MAX_VALUES:,} values")
    return found


def chosen_shape(path: Path, name: str, shape: OpenShape, shapes: Mapping[str, tuple[int, ...]]) -> OpenShape:
    """Return an input's shape as `shapes` names it, or as it is; raises UserError where the two do not agree."""
    wanted = shapes.get(name)
    if wanted is None:
        return shape
    if len(wanted) != len(shape) or not all(size in (None, asked) for size, asked in zip(shape, wanted, strict=True)):
        raise UserError(
            f"{path}: input {name!r} has the shape {_shape_text(shape)}: expected a --shape that fits it, found "
            f"{_shape_text(wanted)}"
        )
    return wanted


def require_shapes(path: Path, names: Collection[str], shapes: Iterable[str]) -> None:
    """Raise UserError for a shape of an input that the model does not have."""
    unknown = [name for name in shapes if name not in names]
    if unknown:
        raise UserError(f"{path}: --shape: has no input {unknown[0]!r}, expected one of {', '.join(names)}")


def open_shape_error(path: Path, name: str, shape: OpenShape) -> UserError:
    """Return the error for an input whose sizes beyond the batch nobody has said."""
    there = " x ".join("any" if size is None else str(size) for size in shape)
    example = "x".join(str(size or (1 if index == 0 else 224)) for index, size in enumerate(shape))
    return UserError(
        f"{path}: input {name!r} leaves open which size it has ({there}): name one, such as --shape {name}={example}"
    )


def require_inputs(path: Path, shapes: Mapping[str, OpenShape], inputs: Mapping[str, NDArray[Any]]) -> None:
    """Raise UserError naming the model's `path` and the input, where `inputs` are not one array of each of `shapes`."""
    if set(inputs) != set(shapes):
        expected, found = ", ".join(sorted(shapes)), ", ".join(sorted(inputs)) or "none"
        raise UserError(f"{path}: expected values for its inputs {expected}, found values for {found}")
    for name, shape in shapes.items():
        given = np.shape(inputs[name])
        if not _fits(given, shape):
            raise UserError(
                f"{path}: input {name!r}: expected values of shape {_shape_text(shape)}, found {_shape_text(given)}"
            )


def _fits(given: tuple[int, ...], shape: OpenShape) -> bool:
    return len(given) == len(shape) and all(size in (None, count) for size, count in zip(shape, given, strict=True))


def _shape_text(shape: OpenShape) -> str:
    return "x".join("any" if size is None else str(size) for size in shape) or "a scalar"
