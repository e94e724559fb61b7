"""What a user chooses about an engine, as values."""

from __future__ import annotations

from dataclasses import dataclass

from qedeploy.errors import UserError

DEFAULT_OPTIMIZATION_LEVEL = 3
"""TensorRT's own default of its levels 0 (quick build) to 5 (compares most kernels)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRange:
    """Images per query: an engine runs `minimum` to `maximum` of them, and its kernels are chosen for `optimum`."""

    minimum: int
    optimum: int
    maximum: int

    def __post_init__(self) -> None:
        if not 1 <= self.minimum <= self.optimum <= self.maximum:
            raise UserError(
                "batch: expected 1 <= minimum <= optimum <= maximum, "
                f"found {self.minimum}:{self.optimum}:{self.maximum}"
            )

    @classmethod
    def parse(cls, text: str) -> BatchRange:
        """Return the range of `4` or `1:4:8` (minimum, optimum, maximum); raises UserError for anything else."""
        try:
            numbers = [int(part) for part in text.split(":")]
        except ValueError:
            numbers = []
        match numbers:
            case [fixed]:
                return cls(minimum=fixed, optimum=fixed, maximum=fixed)
            case [minimum, optimum, maximum]:
                return cls(minimum=minimum, optimum=optimum, maximum=maximum)
        raise UserError(f"batch: expected a number like 1, or minimum:optimum:maximum like 1:4:8, found {text!r}")

    @property
    def static(self) -> int | None:
        """Return the one batch size of a static engine, None for a range."""
        return self.optimum if self.minimum == self.maximum else None

    def __str__(self) -> str:
        return str(self.optimum) if self.static else f"{self.minimum}:{self.optimum}:{self.maximum}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """`workspace_bytes` limits the GPU memory that a kernel may use beside its tensors; None leaves it all."""

    batch: BatchRange = BatchRange(minimum=1, optimum=1, maximum=1)
    workspace_bytes: int | None = None
    optimization_level: int = DEFAULT_OPTIMIZATION_LEVEL
    timing_cache: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.optimization_level <= 5:
            raise UserError(f"optimization level: expected 0 to 5, found {self.optimization_level}")
        if self.workspace_bytes is not None and self.workspace_bytes < 1:
            raise UserError(f"workspace: expected a positive number of bytes, found {self.workspace_bytes}")
