"""What a runtime's own kernels make of a network, beside its plan."""

from __future__ import annotations

from dataclasses import dataclass

SHARE = 0.001
"""Integers that may be one step off: sums in float32 that land on a boundary, and what follows from them in a block."""

FLOAT_TOLERANCE = 1e-4
"""Error of a floating-point value as a share of the largest one that is rounding and nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionCheck:
    """A comparison block by block, each on the plan's own input, in the runtime with the label and version `runtime`.

    Of `values` integers `differing` are not the plan's, by `largest` steps at most; `worst` is the block with the
    largest share. `float_error` is that of floating-point values as a share of the largest. `logits` is the
    difference of the whole network's logits, RMS as a share of their deviation, where what differs has added up;
    `nudged` is the same of the plan itself when each value moves by the last bits of float32 before it is rounded.
    """

    runtime: str
    images: int
    values: int
    differing: int
    largest: int
    worst: str
    worst_share: float
    float_error: float
    logits: float
    nudged: float
    top1_agreement: float

    @property
    def passed(self) -> bool:
        """Whether all differences are those of rounding."""
        return self.largest <= 1 and self.worst_share <= SHARE and self.float_error <= FLOAT_TOLERANCE

    def __str__(self) -> str:
        return (
            f"{self.runtime}, block by block: {self.differing:,} of {self.values:,} integers are not the plan's, by "
            f"{self.largest} {'step' if self.largest == 1 else 'steps'} at most (one step in {SHARE:.1%} is allowed); "
            f"whole network: logits off by {self.logits:.2%} of their deviation, where the last bits of float32 move "
            f"the plan's own by {self.nudged:.2%}; the same class on "
            f"{round(self.top1_agreement * self.images)} of {self.images} images"
        )
