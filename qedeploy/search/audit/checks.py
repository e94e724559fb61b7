"""One claim of a finished search beside what was recomputed."""

from __future__ import annotations

import math
from dataclasses import dataclass

ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One claim of a file: what it is, whether it holds (None where that was not settled), and what tells so."""

    claim: str
    holds: bool | None
    detail: str


def equal(found: object, expected: float) -> bool:
    """Return whether a value of a file is the figure expected, but for the rounding of sums in another order."""
    return isinstance(found, int | float) and math.isclose(found, expected, rel_tol=1e-12, abs_tol=ROUNDING)


def compared(found: object, value: float) -> str:
    """Return in words what a figure was recomputed to, and what the file says where that differs."""
    return f"recomputed {value:.12g}" + ("" if equal(found, value) else f", the file says {found}")
