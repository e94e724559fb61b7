"""An operator that a network computes in floating point between its layers, as ONNX writes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")

Scalar = int | float | str
Attribute = Scalar | tuple[Scalar, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """A tensor that an operator reads and nothing computes: its element type as NumPy calls it, sizes and values."""

    element_type: str
    sizes: tuple[int, ...]
    values: tuple[int | float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatNode:
    """An ONNX operator of one output, of a version that opsets 17 to 21 share.

    `constants` are those of its inputs that nothing computes, by their place; the values that its operation reads fill
    the other places in order.
    """

    op_type: str
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    constants: Mapping[int, Constant] = field(default_factory=dict)

    def operands(self, values: Sequence[T], constant: Callable[[int, Constant], T], missing: T) -> list[T]:
        """Return what it reads by place: `constant` makes its constants, `missing` stands where there is nothing.

        >>> resize = FloatNode(op_type="Resize", constants={2: Constant(element_type="float32", sizes=(0,), values=())})
        >>> resize.operands(["x"], lambda place, _: f"constant {place}", "")
        ['x', '', 'constant 2']
        """
        left = list(values)
        found = []
        for place in range(max([len(values) - 1, *self.constants]) + 1):
            if place in self.constants:
                found.append(constant(place, self.constants[place]))
            else:
                found.append(left.pop(0) if left else missing)
        return [*found, *left]
