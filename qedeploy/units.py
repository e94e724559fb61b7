"""Quantities as people write them (`7.0G`, `2.2MB`, `320KiB`, `4ms`, `130 TOPS`, `320 GB/s`), read and printed."""

from __future__ import annotations

import math
import re
from enum import StrEnum

from qedeploy.errors import UserError


class QuantityError(UserError, ValueError):
    """A quantity that cannot be read: the message says what was expected and what was found."""


class Quantity(StrEnum):
    """What a number counts, which decides the units it may carry."""

    COUNT = "count"
    BYTES = "bytes"
    RATE = "operations per second"
    BANDWIDTH = "bytes per second"
    DURATION = "seconds"
    SPAN = "seconds to spend"


_DECIMAL = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}
_BINARY = {"Ki": 1024.0, "Mi": 1024.0**2, "Gi": 1024.0**3, "Ti": 1024.0**4}
_BYTES = {f"{prefix}B": factor for prefix, factor in (_DECIMAL | _BINARY).items()}
_RATE = {f"{prefix}{unit}": factor for unit in ("OPS", "FLOPS") for prefix, factor in _DECIMAL.items() if prefix != "k"}
DURATION_UNITS = {"ns": 1e-9, "us": 1e-6, "\u00b5s": 1e-6, "\u03bcs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0}
"""Seconds of each unit of time; the micro sign and the Greek letter look alike."""

_UNITS: dict[Quantity, dict[str, float]] = {
    Quantity.COUNT: _DECIMAL,
    Quantity.BYTES: {"": 1.0} | _BYTES,
    # A bare number is left out on purpose: nobody can tell 130 operations from 130 tera-operations.
    Quantity.RATE: _RATE,
    Quantity.BANDWIDTH: {f"{unit}/s": factor for unit, factor in _BYTES.items()},
    # Nor is one allowed here: 4 seconds and 4 milliseconds are both plausible latencies.
    Quantity.DURATION: DURATION_UNITS,
    # How long to go on, in seconds where nothing is said.
    Quantity.SPAN: {"": 1.0} | DURATION_UNITS,
}
_MAY_BE_ZERO = {Quantity.SPAN}
_SPELLED = {
    "sec": "s", "second": "s", "seconds": "s", "msec": "ms", "millisecond": "ms", "milliseconds": "ms", "m": "ms",
    "usec": "us", "microsecond": "us", "microseconds": "us", "nsec": "ns", "minute": "min", "minutes": "min",
}  # fmt: skip
"""Other spellings that people use for units of time."""

_EXPECTED = {
    Quantity.COUNT: "a positive number with K, M, G or T behind it or nothing, such as 7.0G or 109e6",
    Quantity.BYTES: "a positive number of bytes, such as 2.2MB, 320KiB or 1048576",
    Quantity.RATE: "a positive rate such as '130 TOPS' or '65 TFLOPS'",
    Quantity.BANDWIDTH: "a positive bandwidth such as '320 GB/s'",
    Quantity.DURATION: "a positive time with its unit (ns, us, ms, s or min), such as 4ms or 812.5us",
    Quantity.SPAN: "a time such as 200ms, 3s or 1min",
}
_QUANTITY = re.compile(r"(\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)\s*([A-Za-z\u00b5\u03bc/]*)", re.ASCII)


def parse_quantity(value: object, quantity: Quantity) -> float:
    """Return `value` (a number, or text with a unit) in base units: operations, bytes, these per second, or seconds.

    K, M, G, T, P are powers of 1000, Ki, Mi, Gi, Ti of 1024; capitals matter, as elsewhere (m is milli, b a bit).
    Raises QuantityError where the number is not positive and finite (a span may be 0) or the unit is not one of the
    quantity.
    """
    units = _UNITS[quantity]
    match = _QUANTITY.fullmatch(value.strip()) if isinstance(value, str) else None
    if match:
        number, unit = float(match[1]), match[2]
    elif isinstance(value, int | float) and not isinstance(value, bool):
        number, unit = float(value), ""
    else:
        raise QuantityError(f"expected {_EXPECTED[quantity]}, found {value!r}")
    if unit not in units:
        raise QuantityError(f"expected {_EXPECTED[quantity]}, found {value!r}{_hint(unit, units)}")
    # A small unit divides: 3 ms is then the number nearest to 0.003.
    result = number * units[unit] if units[unit] >= 1 else number / round(1 / units[unit])
    if not (math.isfinite(result) and (result > 0 or (result == 0 and quantity in _MAY_BE_ZERO))):
        raise QuantityError(f"expected {_EXPECTED[quantity]}, found {value!r}")
    return result


def parse_seconds(text: str, field: str) -> float:
    """Return the seconds of `200ms`, `3s`, `3` or `1min`; raises UserError naming `field` for anything else."""
    try:
        return parse_quantity(text, Quantity.SPAN)
    except QuantityError as error:
        raise UserError(f"{field}: {error}") from error


def format_count(number: float, digits: int = 4) -> str:
    """Return a count with a decimal prefix: 106853001.5 is `106.9M`."""
    return _scaled(number, "", digits).replace(" ", "")


def format_bytes(number: float, digits: int = 4) -> str:
    """Return bytes in powers of 1024: 327680 is `320 KiB`."""
    for prefix in ("Ti", "Gi", "Mi", "Ki"):
        if abs(number) >= _BINARY[prefix]:
            return f"{_significant(number / _BINARY[prefix], digits)} {prefix}B"
    return f"{_significant(number, digits)} B"


def format_duration(seconds: float, digits: int = 4) -> str:
    """Return seconds in the unit that leaves the fewest zeros: 0.004 is `4 ms`, 8.125e-4 `812.5 us`."""
    for unit in ("s", "ms", "us"):
        # The figure that is printed decides the unit: 0.99999 ms is 1 ms, not 1000 us.
        if abs(float(_significant(seconds, digits))) >= DURATION_UNITS[unit]:
            return f"{_significant(seconds / DURATION_UNITS[unit], digits)} {unit}"
    return f"{_significant(seconds / DURATION_UNITS['ns'], digits)} ns"


def format_rate(number: float, *, floating: bool = False) -> str:
    """Return operations per second: 130e12 is `130 TOPS`, `130 TFLOPS` if they are in floating point."""
    return _scaled(number, "FLOPS" if floating else "OPS", 4)


def format_bandwidth(number: float) -> str:
    """Return bytes per second in powers of 1000, as data sheets do: 320e9 is `320 GB/s`."""
    return _scaled(number, "B/s", 4)


def _hint(unit: str, units: dict[str, float]) -> str:
    near = next((known for known in units if known and known.lower() == unit.lower()), None)
    if near is None and f"{unit}B" in units:
        near = f"{unit}B"
    if near is None and _SPELLED.get(unit.lower()) in units:
        near = _SPELLED[unit.lower()]
    return f"; did you mean {near}?" if near else ""


def _scaled(number: float, unit: str, digits: int) -> str:
    for prefix in ("P", "T", "G", "M", "K"):
        # The figure that is printed decides the prefix: 999.99e6 is 1G, not 1000M.
        if abs(float(_significant(number, digits))) >= _DECIMAL[prefix]:
            return f"{_significant(number / _DECIMAL[prefix], digits)} {prefix}{unit}"
    return f"{_significant(number, digits)} {unit}"


def _significant(number: float, digits: int) -> str:
    text = f"{number:.{digits}g}"
    return f"{float(text):.0f}" if "e+" in text else text
