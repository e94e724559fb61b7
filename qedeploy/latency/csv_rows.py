"""One row of imported times: which columns it has, and what each may hold."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from qedeploy.latency.table import Part, Shape
from qedeploy.network.layers import LayerCategory
from qedeploy.network.structure import MAX_SIZE, Bits
from qedeploy.profiles.describe import compact_pairs
from qedeploy.profiles.profile import Profile

UNITS = {"seconds": 1.0, "ms": 1e-3, "us": 1e-6}
"""Columns that a time may stand in, and how many seconds one of it is."""

NETWORK = "network"
"""Kind of a row with what a query costs beside its layers."""

SHAPE_COLUMNS = ("in_channels", "out_channels", "kernel", "stride", "size", "bits")
COLUMNS = ("kind", *SHAPE_COLUMNS, *UNITS, "repeats", "device")

_SHORTEST, _LONGEST = 1e-9, 60.0
"""Seconds of a layer between which a time is believed to be in the unit of its column."""


def _bits(value: object) -> object:
    match = re.fullmatch(r"W(\d{1,2})A(\d{1,2})", value, re.ASCII) if isinstance(value, str) else None
    if match is None:
        raise ValueError("expected a pair such as W8A8")
    return Bits(weight=int(match[1]), activation=int(match[2]))


Count = Annotated[int, Field(ge=1, le=MAX_SIZE)]
Time = Annotated[float, Field(allow_inf_nan=False)]


class _Row(BaseModel):
    """What every row has: a time in one unit."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    kind: str
    seconds: Time | None = None
    ms: Time | None = None
    us: Time | None = None
    repeats: Count = 1
    device: Annotated[str, Field(min_length=1)] | None = None

    @property
    def unit(self) -> str:
        """Name of the column that the time is in."""
        return next(unit for unit in UNITS if getattr(self, unit) is not None)

    @property
    def time(self) -> float:
        """The time in seconds."""
        return float(getattr(self, self.unit)) * UNITS[self.unit]

    @model_validator(mode="after")
    def _has_one_time(self) -> Self:
        given = [unit for unit in UNITS if getattr(self, unit) is not None]
        if len(given) != 1:
            raise ValueError(f"expected a time in one of {', '.join(UNITS)}, found {' and '.join(given) or 'none'}")
        if not _SHORTEST <= self.time <= _LONGEST:
            raise ValueError(
                f"{given[0]}: expected a positive time of 1 ns to 60 s, found {getattr(self, given[0]):g} {given[0]}: "
                "is it the unit of the column?"
            )
        return self


class NetworkRow(_Row):
    """What a query costs beside its layers."""


class LayerTimeRow(_Row):
    """What a layer, or a shortcut, takes."""

    in_channels: Count
    out_channels: Count
    kernel: Count
    stride: Annotated[int, Field(ge=1, le=2)]
    size: Count
    bits: Annotated[Bits, BeforeValidator(_bits)]

    @model_validator(mode="after")
    def _is_a_layer(self) -> Self:
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel: expected an odd size, found {self.kernel}")
        part = Part(self.kind)
        if part in {Part.DEPTHWISE, Part.SHORTCUT} and self.in_channels != self.out_channels:
            raise ValueError(
                f"out_channels: expected in_channels ({self.in_channels}) again, found {self.out_channels}"
            )
        if part in {Part.POINTWISE, Part.SHORTCUT, Part.CLASSIFIER} and self.kernel != 1:
            raise ValueError(f"kernel: expected 1 in a row of kind {part}, found {self.kernel}")
        if part in {Part.POINTWISE, Part.CLASSIFIER} and self.stride != 1:
            raise ValueError(f"stride: expected 1 in a row of kind {part}, found {self.stride}")
        return self

    @property
    def shape(self) -> Shape:
        """What the time belongs to."""
        return Shape(part=Part(self.kind), **{name: getattr(self, name) for name in SHAPE_COLUMNS})


def row_of(values: Mapping[str, Any], profile: Profile) -> LayerTimeRow | NetworkRow:
    """Return the row with `values` by column; raises ValueError naming a wrong column, or bits that `profile` lacks."""
    kind = values.get("kind")
    if kind is not None and not (isinstance(kind, str) and kind in {*Part, NETWORK}):
        raise ValueError(f"kind: expected one of {', '.join((*Part, NETWORK))}, found {shown(kind)}")
    if kind == NETWORK and (extra := [name for name in SHAPE_COLUMNS if name in values]):
        raise ValueError(f"{extra[0]}: expected nothing in a row of kind {NETWORK}, found {values[extra[0]]!r}")
    model = NetworkRow if kind == NETWORK else LayerTimeRow
    try:
        row = model.model_validate(dict(values))
    except ValidationError as error:
        raise ValueError("; ".join(_fault(item) for item in error.errors(include_url=False))) from error
    if isinstance(row, LayerTimeRow):
        _require_pair(row, profile)
    return row


def _require_pair(row: LayerTimeRow, profile: Profile) -> None:
    # A shortcut is computed as the layer in front of it, which is a pointwise one.
    kind = LayerCategory.POINTWISE if row.kind == Part.SHORTCUT else LayerCategory(row.kind)
    if profile.precision(kind, row.bits) is None:
        offered = ", ".join(compact_pairs(profile.pairs(kind))) or "none"
        raise ValueError(f"bits: profile {profile.name} has no {row.bits} for {kind} layers; it has {offered}")


def _fault(item: Any) -> str:
    """Return one error of pydantic in our words."""
    where = ".".join(str(part) for part in item["loc"][:1])
    match item["type"]:
        case "missing":
            return f"{where}: expected a value, found none"
        case "extra_forbidden":
            return f"{where}: unknown column: expected {', '.join(COLUMNS)}"
        case "int_type" | "int_from_float" | "int_parsing":
            message = "expected a whole number"
        case "float_type" | "finite_number" | "float_parsing":
            message = "expected a number"
        case "greater_than_equal":
            message = f"expected at least {item['ctx']['ge']}"
        case "less_than_equal":
            message = f"expected at most {item['ctx']['le']}"
        case "string_type" | "string_too_short":
            message = "expected text"
        case _:
            message = item["msg"].removeprefix("Value error, ")
            if not where:
                return str(message)
    return f"{where}: {message}, found {shown(item['input'])}"


def shown(value: object) -> str:
    """Return a value as an error shows it."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
