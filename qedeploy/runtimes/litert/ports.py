"""Inputs and outputs of a .tflite file, as they lie in it and as its user sees them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qedeploy.errors import UserError
from qedeploy.runtimes.runner import InputTensor

_TYPES = {np.float32: "float", np.float64: "double", np.bool_: "bool"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """An input or output. `shape` and `dtype` are those that the user sees.

    `grid` are step and zero point where the file has int8 and the user float32; then four axes have channels first.
    """

    name: str
    index: int
    shape: tuple[int, ...]
    dtype: type[np.generic]
    grid: tuple[float, int] | None = None

    @property
    def tensor(self) -> InputTensor:
        """Return it as a description names it, its type in the words of ONNX."""
        kind = _TYPES.get(self.dtype, np.dtype(self.dtype).name)
        return InputTensor(name=self.name, element_type=f"tensor({kind})", shape=self.shape)

    def store(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return `values` as the file has them."""
        if self.grid is None:
            return values
        step, zero = self.grid
        integers = np.clip(np.rint(values.astype(np.float64) / step) + zero, -128, 127).astype(np.int8)
        return np.asarray(integers.transpose(0, 2, 3, 1) if integers.ndim == 4 else integers)

    def load(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return what the file holds as the user sees it."""
        if self.grid is None:
            return values
        step, zero = self.grid
        numbers = (values.astype(np.float32) - zero) * np.float32(step)
        return np.asarray(numbers.transpose(0, 3, 1, 2) if numbers.ndim == 4 else numbers)


def ports(details: Iterable[Mapping[str, Any]], path: Path, *, ours: bool, output: bool = False) -> tuple[Port, ...]:
    """Return the ports of an interpreter's details; raises UserError where an input is no numbers."""
    return tuple(_port(item, path, ours=ours, output=output) for item in details)


def _port(item: Mapping[str, Any], path: Path, *, ours: bool, output: bool) -> Port:
    shape, dtype = tuple(map(int, item["shape"])), item["dtype"]
    if not output and np.dtype(dtype).kind not in "fiub":
        raise UserError(f"{path}: input {item['name']!r} is of {np.dtype(dtype).name}: expected numbers")
    if not ours:
        return Port(name=item["name"], index=item["index"], shape=shape, dtype=dtype)
    seen = (shape[0], shape[3], shape[1], shape[2]) if len(shape) == 4 else shape
    step, zero = item["quantization"]
    return Port(name=item["name"], index=item["index"], shape=seen, dtype=np.float32, grid=(float(step), int(zero)))
