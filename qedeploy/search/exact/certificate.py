"""What the exact search claims, with everything needed to check it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

CLOSED = 1e-9
"""A gap this small counts as closed: it is the rounding of the sums, not a doubt about the structure."""


class ProofStatus(StrEnum):
    """How a search ended: with a proof, with a gap because its effort was spent, or because it was stopped."""

    OPTIMAL = "optimal"
    FEASIBLE = "feasible"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """No structure of the space within the budgets scores more than `upper_bound`.

    `multipliers` price a unit of each budget (an operation, a byte, a layer, a second) in score; at these prices
    alone the bound is `relaxed_bound`. `labels` counts the partial structures that were kept to close the rest, and
    `prices` are all those their bounds were taken at, the multipliers first.
    """

    score: float
    upper_bound: float
    status: ProofStatus
    multipliers: Mapping[str, float]
    relaxed_bound: float
    labels: int
    prices: tuple[Mapping[str, float], ...]

    @property
    def gap(self) -> float:
        """How much better than the structure found another one could be."""
        return self.upper_bound - self.score

    def document(self) -> dict[str, Any]:
        """Return the certificate as JSON-ready data."""
        return {**asdict(self), "gap": self.gap}
