"""What a runtime must do to be measured. Commands hold a Runner and do not know which runtime it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol, Self, runtime_checkable

from numpy.typing import NDArray

from qedeploy.runtimes.node_names import ONNX_NAMES, NodeNames
from qedeploy.runtimes.options import Settings
from qedeploy.runtimes.sections import RuntimeReport
from qedeploy.runtimes.timing import Samples, TimingProtocol

CPU = "CPU"
"""The device of runners that compute on the CPU of this machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerOptions:
    """What a user may set. `batch` None keeps a fixed batch and makes an open one 1; `seed` is that of the inputs.

    `shapes` are whole shapes of inputs by name, for models that leave more open than the batch.
    `settings` are values of the runtimes' own `run_options`, by name.
    """

    threads: int = 1
    batch: int | None = None
    seed: int = 0
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    settings: Settings = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class InputTensor:
    """An input as it is fed: open dimensions are resolved."""

    name: str
    element_type: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name}: {self.element_type} {'x'.join(map(str, self.shape)) or 'scalar'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerDescription:
    """What a runner records about itself: whatever can change a figure.

    `runtime` is the runtime's label. `latency` says in words what one sample covers. `settings` are the runtime's own,
    by their own names.
    """

    runtime: str
    version: str
    device: str
    latency: str
    inputs: tuple[InputTensor, ...]
    batch: int
    threads: int
    settings: Mapping[str, str]

    @property
    def on_cpu(self) -> bool:
        """Whether the CPU computes, so that its threads and instruction sets say something."""
        return self.device == CPU


USUAL = "usual time (mean of the middle half)"
"""What the times of a profiled pass are that was run here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeTime:
    """Usual time of one executed node per query, in seconds, under the runtime's own name and type for it.

    `layers` are the network's layers that it computes together, where it does several and cannot tell their times.
    """

    name: str
    op_type: str
    seconds: float
    layers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfiledRun:
    """A profiled pass: nodes in execution order, and what its queries took in all, in seconds per query.

    `inside` is the time the runtime says a query takes: what of it is in no node passes between nodes. `whole` is the
    time its caller saw. Nodes and `inside` are usual times, which a stray interruption does not move; `interrupted` is
    the part of `whole` that the mean query took more than usual. `names` says how to read the nodes.

    `statistic` is what the nodes' times are of their queries. `beside` is a time without a profiler that the nodes can
    be compared with, named and in seconds; None means the median latency of a query.

    `around` says whether time outside the nodes was measured at all; where it was not, `inside` and `whole` are sums.
    """

    nodes: tuple[NodeTime, ...]
    inside: float
    whole: float
    queries: int
    interrupted: float = 0.0
    names: NodeNames = ONNX_NAMES
    statistic: str = USUAL
    beside: tuple[str, float] | None = None
    around: bool = True


class Runner(Protocol):
    """One model on one runtime. Entering it loads the model, leaving it frees what that took.

    Entering raises UserError for a file that is no model, RequestError for one that the runtime cannot execute, and
    MissingRuntimeError where this machine lacks what the runtime needs.
    """

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    @property
    def description(self) -> RunnerDescription:
        """Return what is measured and how; known once entered."""
        ...

    def measure(self, protocol: TimingProtocol) -> Samples:
        """Run queries under `protocol`, one in flight, and return the latency of each."""
        ...

    def profile(self, protocol: TimingProtocol) -> ProfiledRun:
        """Run queries under `protocol` with the runtime's profiler on; never for headline figures, since it slows."""
        ...

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run one query of the very artefact that is timed; returns its outputs by name.

        `inputs` has an array for each input by name, converted to the input's type; shapes are those of `description`,
        except that a model whose batch is open takes any. Later measurements feed random values as before. Raises
        UserError for other names or shapes.
        """
        ...


@runtime_checkable
class Reporter(Protocol):
    """A runner that has more to tell than its samples, once it has measured and profiled."""

    def report(self) -> RuntimeReport:
        """Return what only this runtime can tell."""
        ...
