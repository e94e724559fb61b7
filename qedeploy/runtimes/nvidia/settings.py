"""What a user chooses about an engine, as values."""

from __future__ import annotations

from dataclasses import dataclass

from qedeploy.errors import UserError
from qedeploy.runtimes.nvidia.options import DEFAULT_OPTIMIZATION_LEVEL, RUN_OPTIONS
from qedeploy.runtimes.options import Settings, chosen
from qedeploy.units import Quantity, QuantityError, parse_quantity


@dataclass(frozen=True, slots=True, kw_only=True)
class QuerySettings:
    """How queries of an engine are run."""

    cuda_graph: bool
    spin_wait: bool
    transfers: bool

    @classmethod
    def of(cls, settings: Settings) -> QuerySettings:
        """Return the settings of a run, each at its default where it is not given."""
        return cls(**chosen(RUN_OPTIONS, settings))


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


def parse_settings(
    *,
    batch: int | None,
    engine_batch: str | None,
    workspace: str | None,
    optimization_level: int = DEFAULT_OPTIMIZATION_LEVEL,
    timing_cache: bool = True,
) -> EngineSettings:
    """Return the settings of command line options; raises UserError naming the option that cannot be read.

    `batch` is what the ONNX file was fixed to, None where it was left open.
    """
    fixed = BatchRange.parse(str(batch or 1))
    found = fixed if engine_batch is None else BatchRange.parse(engine_batch)
    if batch is not None and found != fixed:
        raise UserError(f"--engine-batch {engine_batch}: the file's batch is fixed by --batch {batch}: leave one out")
    try:
        limit = None if workspace is None else int(parse_quantity(workspace, Quantity.BYTES))
    except QuantityError as error:
        raise UserError(f"--workspace: {error}") from error
    return EngineSettings(
        batch=found, workspace_bytes=limit, optimization_level=optimization_level, timing_cache=timing_cache
    )
