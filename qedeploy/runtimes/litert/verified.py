"""What a verification found, as data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What was compared, on how many random images.

    Each of `integers` that an operator made is that of LiteRT's arithmetic. `one_step` of the `values` integers of the
    network's values are one step off the plan, which PyTorch rounds once where LiteRT rounds twice.
    """

    images: int
    integers: int
    values: int
    one_step: int

    def __str__(self) -> str:
        share = self.one_step / self.values
        return (
            f"{self.integers:,} integers are those of LiteRT's arithmetic; {share:.2%} are one step off PyTorch's, by "
            "LiteRT's rounding"
        )
