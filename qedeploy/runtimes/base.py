"""What a runtime is: all that qedeploy has to know of one, so that a new one is one folder and no other file.

A folder below this one, or a module of another package, subclasses `Runtime`, overrides what it has, and offers one
object of it: as `RUNTIME` in the folder's `__init__.py`, or as an entry point of the group `qedeploy.runtimes`. Nothing
heavy is imported for that object: what a method needs it imports itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qedeploy.errors import MissingRuntimeError, RequestError
from qedeploy.profiles.capabilities import Capabilities
from qedeploy.runtimes.findings import Finding
from qedeploy.runtimes.mixed import MixedExecution
from qedeploy.runtimes.options import Option, Settings

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from qedeploy.profiles.profile import Profile
    from qedeploy.qdq.dialect import Dialect
    from qedeploy.qdq.lowered import LoweredNetwork
    from qedeploy.qdq.metadata import ModelMetadata
    from qedeploy.runtimes.execution import ExecutionCheck
    from qedeploy.runtimes.products import Products
    from qedeploy.runtimes.recorded import Recordings
    from qedeploy.runtimes.runner import Runner, RunnerOptions
    from qedeploy.runtimes.typed import TypedGraphs

OnEvent = Callable[[Mapping[str, Any]], None]
"""Receives what a build reports, JSON-ready: `{"event": "phase", "name", "parent", "steps"}`, then `"step"` and
`"finish"` of that name, and a `"text"` to show with `"warning"` and `"notice"`."""

Evaluator = Callable[[Mapping[str, "NDArray[Any]"]], "dict[str, NDArray[Any]]"]
"""Runs a graph once: inputs by name to outputs by name."""


def ignore(_event: Mapping[str, Any]) -> None:
    """Receive an event of a build and show nothing."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BuildSource:
    """What an artefact is built from.

    `model` is the ONNX file in the runtime's dialect, which has been verified where it is an export. `network` is what
    that file says, lowered and arranged: a runtime that does not read ONNX writes its own form from it, and `blocks`
    are the ones that the file has of it (None: all). Both are None for a file that is not ours. `profile` is the one it
    was lowered for, where that is at hand. `rewrite` writes and verifies the file again for another lowering of its
    network, and returns that as the source.
    """

    model: Path
    network: LoweredNetwork | None = None
    metadata: ModelMetadata | None = None
    blocks: tuple[str, ...] | None = None
    profile: Profile | None = None
    rewrite: Callable[[LoweredNetwork], BuildSource] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Artefact:
    """What a build wrote: a file that a runner opens.

    `description` says by what and for what it was built, `warnings` what became of layers that could not be built as
    planned. `seconds` are the build's alone, without attempts that failed.
    """

    path: Path
    size_bytes: int
    seconds: float
    description: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A runtime that executes ONNX files literally, and so says what an exported file computes.

    `label` is the runtime's. `version` returns its name and version; `evaluator` opens a serialised model for as many
    queries as are wanted, with the graph optimised or as it is, as a user's own session does; `exact` does so with
    products that are exact on every processor. `simplify` returns a serialised model with its constants folded and
    what is redundant gone, its operators still ONNX's. The last three raise whatever the runtime raises.
    """

    label: str
    version: Callable[[], str]
    evaluator: Callable[[bytes, bool], Evaluator]
    exact: Callable[[bytes, bool], Evaluator]
    simplify: Callable[[bytes], bytes]


class Runtime(ABC):
    """A runtime. Class attributes are its data; methods that are not overridden say that it has nothing of the kind.

    `name` is what profiles call it and `label` what people do. `suffixes` are those of the files that it runs.
    `dialects` are the forms in which it wants ONNX files, the usual one first. `packages` are the distributions that it
    is made of, first the one whose version is its own. `run_options` and `build_options` are what a user may set of a
    run and of a build.
    """

    name: str
    label: str
    capabilities: Capabilities
    suffixes: tuple[str, ...]
    dialects: tuple[str, ...]
    packages: tuple[str, ...] = ()
    on_cpu: bool = False
    """Whether it computes on the CPU of the machine that it runs on."""

    baselines: bool = False
    """Whether the float32 and W8A8 baselines of a model can be run beside it without being built."""

    artefact: str | None = None
    """What `build` writes beside model.onnx; None where that file itself is what runs."""

    run_options: tuple[Option, ...] = ()
    build_options: tuple[Option, ...] = ()
    recordings: Sequence[Recordings] = ()
    """Runs that other tools recorded and that it can read."""

    reference: Reference | None = None
    """How it executes ONNX files literally, where it does."""

    mixed: MixedExecution | None = None
    """How it executes and times networks with some layers in integers, where `quantize` can write for it."""

    @abstractmethod
    def dialect(self, name: str) -> Dialect:
        """Return the dialect of one of the names in `dialects`."""

    @abstractmethod
    def open(self, path: Path, options: RunnerOptions) -> Runner:
        """Return a runner for a file with one of `suffixes`, not yet entered."""

    def typed_graphs(self) -> TypedGraphs | None:
        """Return the form in which `quantize` writes networks for it that nobody times, None where it has none."""
        return None

    def version(self) -> str | None:
        """Return the version that is installed here, None where it is not."""
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version(self.packages[0]) if self.packages else None
        except PackageNotFoundError:
            return None

    def require(self) -> None:
        """Raise MissingRuntimeError where this machine cannot build for it or run it, with what it takes."""
        if self.packages and self.version() is None:
            raise MissingRuntimeError(f"{self.label} is not installed: pip install {self.packages[0]}")

    def require_settings(self, settings: Settings, batch: int | None) -> None:
        """Raise UserError naming the option where `build` would refuse `settings`; `batch` is the file's, None open."""
        del settings, batch

    def build(
        self, source: BuildSource, target: Path, settings: Settings, batch: int | None, on_event: OnEvent = ignore
    ) -> Artefact:
        """Build what runs from `source`, as `target` or beside it under its name.

        Raises RequestError with the runtime's reason where it cannot be built, MissingRuntimeError where this machine
        lacks the runtime or the device, UserError for settings that make no sense.
        """
        raise RequestError(f"{source.model}: {self.label} runs it as it is, there is nothing to build")

    def artefact_path(self, model: Path) -> Path:
        """Return where what is built of an ONNX file goes: beside model.onnx under the artefact's name.

        Beside another file it goes under that one's name. A runtime that builds nothing runs `model` itself.
        """
        if self.artefact is None:
            return model
        return (
            model.with_name(self.artefact) if model.stem == "model" else model.with_suffix(Path(self.artefact).suffix)
        )

    def metadata(self, path: Path) -> ModelMetadata | None:
        """Return what one of its files says of its network, None where it says nothing.

        Raises UserError where the file is none, DamagedMetadataError where what it says cannot be read.
        """
        from qedeploy.qdq.metadata import read_metadata

        return read_metadata(path)

    def products(self, model: bytes, profile: str | None) -> Products | None:
        """Return how exactly this machine multiplies the integers of a file, exported for the profile of that name.

        `model` is the file's content. None where its kernels are not chosen by the machine, or it cannot be read.
        """
        del model, profile
        return None

    def execution(self, network: LoweredNetwork, images: Tensor) -> ExecutionCheck | None:
        """Return how its own kernels compute a network in its dialect, (batch, channels, height, width) `images`.

        None where the reference is what executes it, where a build proves it, or where it is not installed.
        """
        del network, images
        return None

    def suited_profile(self) -> str | None:
        """Return the shipped profile that suits this machine best, None where none is of the machine that asks."""
        return None

    def mismatch(self, profile: Profile) -> str:
        """Return why `profile` is not for this machine, as a sentence with the one that is, "" where it may be."""
        del profile
        return ""

    def findings(self) -> tuple[Finding, ...]:
        """Return what this machine has of it, for `qedeploy doctor`; an absence is a finding, never an error."""
        return ()
