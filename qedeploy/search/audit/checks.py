"""One claim of a finished search beside what was recomputed."""

from __future__ import annotations

import math
from dataclasses import dataclass

ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One claim of a file: what it is, whether it holds (None if that was not settled), and the reason."""

    claim: str
    holds: bool | None
    detail: str


def equal(found: object, expected: float) -> bool:
    """Return whether a value of a file is the expected figure, up to the rounding of sums in another order."""
    return isinstance(found, int | float) and math.isclose(found, expected, rel_tol=1e-12, abs_tol=ROUNDING)


def compared(found: object, value: float) -> str:
    """Return a recomputed figure in words, with the file's own where the two differ."""
    return f"recomputed {value:.12g}" + ("" if equal(found, value) else f", the file says {found}")
