"""What a .tflite file says, as data: tensors, and operators in execution order. Nothing here needs LiteRT."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Operator(StrEnum):
    """LiteRT's own names of the operators that are written."""

    CONVOLUTION = "CONV_2D"
    DEPTHWISE = "DEPTHWISE_CONV_2D"
    ADD = "ADD"
    AVERAGE_POOL = "AVERAGE_POOL_2D"
    MEAN = "MEAN"
    RESHAPE = "RESHAPE"
    MAXIMUM = "MAXIMUM"


_VERSIONS = {
    Operator.CONVOLUTION: 3,
    Operator.DEPTHWISE: 3,
    Operator.ADD: 2,
    Operator.AVERAGE_POOL: 2,
    Operator.MEAN: 2,
    Operator.RESHAPE: 1,
    Operator.MAXIMUM: 2,
}
"""The first version of each operator that is int8."""

_INT4_CONVOLUTION = 7
"""The first version of a CONV_2D that takes weights in int4 (op_version.cc); of a DEPTHWISE_CONV_2D there is none."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tensor:
    """A tensor in LiteRT's layout, channels last.

    `scale` has one value, or one for each index of `axis`; None for integers that stand for themselves, such as a
    shape. `data` are the values of a constant, None for what is computed. `dtype` is int8 or int32; with `int4` the
    file holds two of its int8 values in a byte.
    """

    name: str
    shape: tuple[int, ...]
    dtype: type[np.int8] | type[np.int32] = np.int8
    scale: NDArray[np.float32] | None = None
    zero_point: int = 0
    axis: int = 0
    data: NDArray[Any] | None = None
    int4: bool = False

    @property
    def size_bytes(self) -> int:
        """What its values take."""
        values = math.prod(self.shape)
        return -(-values // 2) if self.int4 else values * np.dtype(self.dtype).itemsize

    @property
    def step(self) -> float:
        """The one scale of a computed value."""
        if self.scale is None:
            raise ValueError(f"{self.name} stands for itself")
        return float(self.scale[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """How an operator's window moves, in height and width. `same` is LiteRT's SAME padding, else VALID."""

    same: bool = False
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One operator on tensors by name. `relu` bounds its output at its zero point from below."""

    operator: Operator
    inputs: tuple[str, ...]
    output: str
    relu: bool = False
    placement: Placement = Placement()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Program:
    """Tensors by their names, in file order, and the calls on them; `source` and `result` are input and output.

    `values` are the tensors that hold the network's values, by these values' names.
    """

    tensors: dict[str, Tensor]
    calls: Sequence[Call]
    source: str
    result: str
    values: dict[str, str]


def version(operator: Operator, program: Program) -> int:
    """Return the version of an operator that all calls of a program need."""
    weights = (program.tensors[call.inputs[1]] for call in program.calls if call.operator is operator)
    if operator is Operator.CONVOLUTION and any(weight.int4 for weight in weights):
        return _INT4_CONVOLUTION
    return _VERSIONS[operator]
