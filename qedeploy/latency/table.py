"""A latency table: how long the parts of networks took on a device, and where the figures come from."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from qedeploy.errors import UserError
from qedeploy.files import json_text, write_text
from qedeploy.network.structure import Bits
from qedeploy.schema import read_json, validate
from qedeploy.words import counted

FORMAT = "qedeploy-latency/1"

_STRICT: dict[str, Any] = {"extra": "forbid", "allow_inf_nan": False}
"""How pydantic reads the values below: an unknown key is an error, and so is a number that is none."""

UNSTABLE = 0.05
"""Spread of a point over which it counts as unstable."""


MOST_UNSTABLE = 0.25
"""Share of unstable points over which a table is not to be relied on."""


_LARGEST_SIZE = 1 << 20
"""Channels, pixels or bits of a shape."""

_LONGEST = 3600.0
"""Seconds of a point."""


class Part(StrEnum):
    """What a time belongs to: a kind of layer, or a block's shortcut with its addition.

    `classifier` brings the global pooling in front of it. Where a time depends on the widths that a layer reads, such
    as a clip to a narrower range, it is part of that layer.
    """

    STEM = "stem"
    POINTWISE = "pointwise"
    DEPTHWISE = "depthwise"
    SHORTCUT = "shortcut"
    HEAD = "head"
    CLASSIFIER = "classifier"


class Source(StrEnum):
    """Where a point comes from."""

    MEASURED = "measured"
    BENCH = "bench"
    IMPORTED = "imported"


def competed(load: float, threads: int, cores: int) -> bool:
    """Return whether `threads` threads of ours had to share `cores` with others, by the `load` before they started."""
    return load + threads > cores + 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a part computes, by the channels that the runtime computes with; `size` is its square input in pixels.

    A shortcut has as many channels in as out, its block's stride (with 2 it is pooled), and the size of its output,
    which is that of the addition.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    part: Part
    in_channels: int
    out_channels: int
    kernel: int
    stride: int
    size: int
    bits: Bits

    def __str__(self) -> str:
        return (
            f"{self.part} {self.in_channels}->{self.out_channels} k{self.kernel} s{self.stride} at {self.size}, "
            f"{self.bits}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TablePoint:
    """Seconds that a shape took, the median over `rounds`; `spread` is half their interquartile range over it."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    shape: Shape
    seconds: float
    spread: float = 0.0
    rounds: int = 1
    source: Source = Source.MEASURED

    @property
    def unstable(self) -> bool:
        """Whether the rounds disagree by more than a measurement should."""
        return self.spread > UNSTABLE


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """From parts to a whole network: `constant + sum of scale_of(part) * seconds + seconds_per_weight_byte * bytes`.

    Weight bytes are those of the convolutions as executed. Parts without a scale of their own in `part_scales` have
    `scale`. Fitted on `networks` whole networks; `error` is the mean absolute percentage error (as a share) on them,
    each predicted from a fit without it.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    scale: float = 1.0
    constant: float = 0.0
    seconds_per_weight_byte: float = 0.0
    part_scales: Mapping[Part, float] = field(default_factory=dict)
    networks: int = 0
    error: float | None = None

    def scale_of(self, part: Part) -> float:
        """Return the ratio of a part's time in a network to its time alone."""
        return self.part_scales.get(part, self.scale)

    def __str__(self) -> str:
        own = "".join(f"{part} x {scale:.2f}, " for part, scale in self.part_scales.items())
        return (
            f"{own}{'other ' if own else ''}parts x {self.scale:.2f}, {self.constant * 1e6:.0f} us for a query and "
            f"{self.seconds_per_weight_byte * 1e12:.0f} us for a megabyte of weights"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPoint:
    """A whole network that was measured for the calibration: its structure as a document, and its seconds."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    structure: Mapping[str, Any]
    seconds: float
    spread: float
    rounds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyTable:
    """Points of one profile on one device.

    `machine`, `runtime` and `settings` (JSON-ready) say what was measured on, with what and how, `recipes` for whose
    spaces, the latest last; `date` is ISO 8601.
    `reference_seconds` is the time of the reference graph that was measured beside every point: times are those of a
    machine that takes this long for it (None where nothing was measured here). `bottleneck_multiple` is what the
    runtime's dialect pads the channels between the layers of a block to; points carry the padded channels.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    profile: str
    device: str
    runtime: Mapping[str, Any]
    settings: Mapping[str, Any]
    points: tuple[TablePoint, ...]
    networks: tuple[NetworkPoint, ...] = ()
    calibration: Calibration = Calibration()
    machine: Mapping[str, Any] = field(default_factory=dict)
    date: str = ""
    recipes: tuple[str, ...] = ()
    reference_seconds: float | None = None
    bottleneck_multiple: int = 1

    @property
    def unstable(self) -> int:
        """The number of points whose rounds disagree by more than a measurement should."""
        return sum(point.unstable for point in self.points)

    @property
    def doubt(self) -> str:
        """Why the table is not to be relied on; "" where its points are stable enough."""
        if self.unstable <= MOST_UNSTABLE * len(self.points):
            return ""
        middle = float(np.median([point.spread for point in self.points]))
        return (
            f"{self.unstable} of {counted(len(self.points), 'point')} are unstable (half the interquartile range is "
            f"{middle:.0%} of a usual point's time; expected at most {MOST_UNSTABLE:.0%} of points over "
            f"{UNSTABLE:.0%}): other programs ran while they were measured"
        )

    @property
    def competition(self) -> str:
        """What competed for the cores when the measuring began, by the rule of a benchmark; "" for nothing.

        Points may be stable all the same: each is the middle of rounds beside a reference.
        """
        load, cores, threads = self.machine.get("load"), self.machine.get("usable_cores"), self.settings.get("threads")
        if not (isinstance(load, int | float) and isinstance(cores, int) and isinstance(threads, int)):
            return ""
        if not competed(load, threads, cores):
            return ""
        return f"load was {load:.1f} on {counted(cores, 'core')} before it was measured: others competed for them"

    def with_points(self, points: Iterable[TablePoint]) -> LatencyTable:
        """Return the table with `points` in place of those of the same shapes."""
        merged = {point.shape: point for point in (*self.points, *points)}
        return dataclasses.replace(self, points=tuple(merged.values()))


def to_document(table: LatencyTable) -> dict[str, Any]:
    """Return `table` as JSON-ready data."""
    return {"format": FORMAT, **dataclasses.asdict(table)}


def from_document(data: object, source: Path | str) -> LatencyTable:
    """Return the table of `data`; raises UserError naming `source` and every wrong field."""
    from pydantic import TypeAdapter

    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise UserError(f"{source}: expected a {FORMAT} document, as `qedeploy measure` writes it")
    table = validate(TypeAdapter(LatencyTable), {key: value for key, value in data.items() if key != "format"}, source)
    for number, point in enumerate(table.points):
        _require_possible(point, f"{source}: points[{number}]")
    return table


def _require_possible(point: TablePoint, where: str) -> None:
    """Raise UserError for a point that nobody can have measured."""
    shape = point.shape
    bits = dataclasses.astuple(shape.bits)
    sizes = (shape.in_channels, shape.out_channels, shape.kernel, shape.stride, shape.size, *bits)
    if min(sizes) < 1 or max(sizes) > _LARGEST_SIZE:
        raise UserError(f"{where}: shape: expected sizes from 1 to {_LARGEST_SIZE:,}, found {shape}")
    if not 0 < point.seconds <= _LONGEST or not point.spread >= 0 or point.rounds < 1:
        raise UserError(
            f"{where}: expected seconds above 0 and up to {_LONGEST:,.0f}, spread from 0 and rounds from 1, found "
            f"{point.seconds}, {point.spread} and {point.rounds}"
        )


def spread(values: Sequence[float]) -> float:
    """Return half the interquartile range of `values` over their median, 0 for a single one."""
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    return float((high - low) / 2 / middle)


def read_table(path: Path) -> LatencyTable:
    """Return the table of a JSON file; raises UserError for one that cannot be read."""
    return from_document(read_json(path), path)


def to_text(table: LatencyTable) -> str:
    """Return what a file of `table` holds."""
    return json_text(to_document(table))


def write_table(path: Path, table: LatencyTable) -> Path:
    """Write `table` as JSON, whole or not at all; returns `path`."""
    return write_text(path, to_text(table))
