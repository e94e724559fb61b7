"""The lowering plan: what every layer and every value of a network becomes on a device, as plain data.

The integers are the same in PyTorch and in every dialect. Additions that a dialect makes to the trained network (a
quantization point with a scale of its own, a shortcut that is read quantized) are listed here and nowhere else.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from qedeploy.network.layers import LayerCategory
from qedeploy.network.structure import Bits
from qedeploy.profiles.profile import Lowering


class StepSource(StrEnum):
    """Where the step of a grid comes from."""

    TRAINED = "trained"
    IMAGES = "calibrated on images"
    RANDOM = "calibrated on random data"
    ASSUMED = "assumed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Values that a quantized tensor can take: `step` times a whole number from `low` to `high`.

    `bits` and `signed` are the quantizer's; `low` is 0 where a ReLU stands before a signed quantizer, and `high` is
    what the ceiling of a ReLU6 rounds to where that is less than the quantizer's own.
    """

    bits: int
    signed: bool
    low: int
    high: int
    step: float

    @classmethod
    def of(
        cls, *, bits: int, signed: bool, step: float, nonnegative: bool = False, ceiling: float | None = None
    ) -> Grid:
        """Return the grid of a `bits` wide quantizer of values that are `nonnegative` and at most `ceiling`."""
        high = 2 ** (bits - 1) - 1 if signed else 2**bits - 1
        low = -(2 ** (bits - 1)) if signed and not nonnegative else 0
        if ceiling is not None:
            high = max(1, min(high, round(ceiling / step)))
        return cls(bits=bits, signed=signed, low=low, high=high, step=step)


@dataclass(frozen=True, slots=True, kw_only=True)
class ValuePlan:
    """One value of the network and the grid it is rounded to.

    `reader` is the layer whose activation quantizer this is; None for a point that training did not have, and
    `reason` then says why the dialect needs it.
    """

    name: str
    grid: Grid
    source: StepSource
    reader: str | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerPlan:
    """One layer: its nominal and executed widths, its lowering, its input grid and what folding changed.

    `input` is None where the layer reads floating point; `weight_low` and `weight_high` are the range of its weight
    integers, None where weights stay floating point. `weight_multiple` is the largest power of two that a channel's are
    held in multiples of, under a scale finer by as much. Counts: `clipped_weights` integers at -2^(b-1) whose sign a
    negative normalisation turned and that have no positive twin, `dead_channels` output channels whose normalisation
    multiplies by zero, `rescaled_channels` output channels whose bias needed a coarser weight scale to fit 32 bits.
    """

    name: str
    kind: LayerCategory
    bits: Bits
    lowering: Lowering
    executed: Bits
    input: Grid | None
    weight_low: int | None
    weight_high: int | None
    weight_multiple: int = 1
    clipped_weights: int = 0
    dead_channels: int = 0
    rescaled_channels: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoweringPlan:
    """Everything a lowering decided. `quantized_shortcuts` are values that training added unquantized."""

    profile: str
    runtime: str
    dialect: str
    layers: tuple[LayerPlan, ...]
    values: tuple[ValuePlan, ...]
    quantized_shortcuts: tuple[str, ...] = ()
    integer_bias: bool = False
    notes: tuple[str, ...] = field(default=())

    @property
    def points(self) -> tuple[ValuePlan, ...]:
        """Return the quantization points that training did not have."""
        return tuple(value for value in self.values if value.reader is None)

    def grids(self) -> dict[str, Grid]:
        """Return the grid of every quantized value by its name."""
        return {value.name: value.grid for value in self.values}

    def executed_bits(self) -> dict[str, Bits]:
        """Return for each layer name the widths that the device computes in."""
        return {layer.name: layer.executed for layer in self.layers}


def to_document(plan: LoweringPlan) -> dict[str, Any]:
    """Return `plan` as JSON-ready data."""
    return dataclasses.asdict(plan)


def from_document(data: object, source: str) -> LoweringPlan:
    """Return the plan of `data`; raises UserError naming `source` and every wrong field."""
    from pydantic import TypeAdapter

    from qedeploy.schema import validate

    return validate(TypeAdapter(LoweringPlan), data, source)
