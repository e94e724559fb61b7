"""Figures as a person reads them, with their units; one way for the terminal and for the report."""

from __future__ import annotations

from qedeploy.bench.measure.interleave import Ratio
from qedeploy.bench.report.document import ComparedModel
from qedeploy.network.structure import Bits
from qedeploy.units import format_bytes

NONE = "-"
"""What stands for a figure that does not exist."""


def milliseconds(seconds: float) -> str:
    """Return `4.513 ms`, with four significant digits under a millisecond."""
    return f"{seconds * 1e3:.3f} ms" if seconds >= 1e-3 else f"{seconds * 1e3:.4f} ms"


def microseconds(seconds: float | None) -> str:
    """Return whole microseconds and a tenth, without the unit (a table's heading has it)."""
    return NONE if seconds is None else f"{seconds * 1e6:,.1f}"


def percent(share: float | None) -> str:
    """Return a share as `12.3 %`."""
    return NONE if share is None else f"{share * 100:.1f} %"


def error(share: float | None) -> str:
    """Return a signed error as `+3.1 %`."""
    return NONE if share is None else f"{share * 100:+.1f} %"


def giga(value: float | None) -> str:
    """Return thousands of millions without the unit, to three significant digits below a hundred."""
    if value is None:
        return NONE
    billions = value / 1e9
    return f"{billions:,.0f}" if billions >= 100 else f"{billions:.3g}"


def widths(nominal: Bits | None, executed: Bits | None) -> str:
    """Return `W5A5 in W8A8`, or the one pair where both are the same."""
    if nominal is None or executed is None:
        return NONE
    return str(nominal) if nominal == executed else f"{nominal} in {executed}"


def coefficient(value: float | None) -> str:
    """Return a correlation with two digits."""
    return NONE if value is None else f"{value:.2f}"


def ratio(value: Ratio | None) -> str:
    """Return `1.06x [1.05, 1.08]`."""
    return NONE if value is None else str(value)


def compared_ratio(item: ComparedModel) -> str:
    """Return the ratio to a compared model, or that it is withheld."""
    return "withheld" if item.withheld else ratio(item.ratio)


def per_unit(seconds: float, unit: str) -> str:
    """Return a time model's factor as the rate or time that a person knows: GBitOps/s, GB/s, or us a layer."""
    if seconds == 0:
        return "no part of the time"
    match unit:
        case "BitOp":
            return f"{1 / seconds / 1e9:,.0f} GBitOps/s"
        case "byte":
            return f"{1 / seconds / 1e9:,.1f} GB/s"
        case _:
            return f"{seconds * 1e6:.1f} us a {unit}"


def size(count: float) -> str:
    """Return bytes in the prefix that suits them: `1.393 MiB`."""
    return format_bytes(count)


def gibibytes(size: int) -> str:
    """Return bytes as `23.5 GiB`."""
    return f"{size / 2**30:.1f} GiB"
