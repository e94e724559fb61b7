"""Inputs of models: random values for timing, and values of a caller, checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from qedeploy.errors import UserError

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
