"""The artefact built from an export if its runtime and device are here, else the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from qedeploy.errors import MissingRuntimeError, RequestError
from qedeploy.export.exporter import ExportResult, export_again
from qedeploy.qdq.lowered import LoweredNetwork
from qedeploy.qdq.metadata import ModelMetadata
from qedeploy.runtimes.base import Artefact, BuildSource, OnEvent, Runtime, ignore
from qedeploy.runtimes.options import Settings
from qedeploy.runtimes.registry import find_runtime, runtimes


class BuildChoice(StrEnum):
    """Whether an export builds its runtime's artefact: if it can, or else fails, or never."""

    AUTO = "auto"
    REQUIRED = "required"
    NEVER = "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOutcome:
    """The artefact, or one line on why there is none; and the export as it is now, which a build may have changed.

    `target` is where the artefact is or would be, None where the runtime runs the ONNX file itself.
    """

    export: ExportResult
    target: Path | None = None
    artefact: Artefact | None = None
    reason: str = ""

    @property
    def path(self) -> Path:
        """Return the file to run: the artefact, or the ONNX file if there is none."""
        return self.export.model if self.artefact is None else self.artefact.path


def build_artefact(
    result: ExportResult,
    choice: BuildChoice,
    settings: Settings,
    *,
    on_event: OnEvent = ignore,
    runtime: Runtime | None = None,
) -> BuildOutcome:
    """Build what the runtime of an export runs, as `choice` says, beside its ONNX file.

    `settings` are values of the runtimes' `build_options`; `runtime` stands in for the export's own. Raises
    RequestError where it cannot be built or the runtime builds nothing, and MissingRuntimeError where it is required
    and the runtime or a device is missing.
    """
    runtime = runtime or find_runtime(result.plan.runtime)
    if runtime.artefact is None:
        if choice is BuildChoice.REQUIRED:
            building = " or ".join(other.name for other in runtimes() if other.artefact is not None)
            raise RequestError(
                f"--engine required: profile {result.plan.profile} runs on {runtime.name}, which has no engines: "
                f"choose a profile with runtime {building} (qedeploy profiles lists them)"
            )
        return BuildOutcome(export=result)
    target = artefact_path(result)
    if choice is BuildChoice.NEVER:
        return BuildOutcome(export=result, target=target, reason="not asked for (--engine never)")
    try:
        return _built(result, target, runtime, settings, on_event)
    except MissingRuntimeError as error:
        if choice is BuildChoice.REQUIRED:
            raise MissingRuntimeError(f"{result.model} is written; {target} is not: {error}") from error
        return BuildOutcome(export=result, target=target, reason=str(error))


def artefact_path(result: ExportResult) -> Path:
    """Return what is to be run of an export: what its runtime builds, or the ONNX file."""
    return find_runtime(result.plan.runtime).artefact_path(result.model)


def _built(result: ExportResult, target: Path, runtime: Runtime, settings: Settings, on_event: OnEvent) -> BuildOutcome:
    current = result

    def rewrite(network: LoweredNetwork) -> BuildSource:
        nonlocal current
        current = export_again(current, network)
        return source()

    def source() -> BuildSource:
        network = current.prepared.network
        metadata = ModelMetadata(
            graph=network.graph,
            profile=network.plan.profile,
            plan=network.plan,
            images=current.prepared.prepared_as,
        )
        return BuildSource(
            model=current.model,
            network=network,
            metadata=metadata,
            profile=current.prepared.profile,
            rewrite=rewrite,
        )

    artefact = runtime.build(source(), target, settings, result.prepared.settings.batch, on_event)
    return BuildOutcome(export=current, target=target, artefact=artefact)
