"""The engine behind an export: built where TensorRT and a GPU are, else the reason why there is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from qedeploy.errors import MissingRuntimeError, RequestError
from qedeploy.export.exporter import ExportResult, export_again
from qedeploy.profiles.profile import Runtime
from qedeploy.qdq.metadata import ModelMetadata
from qedeploy.runtimes.tensorrt.child import Emit
from qedeploy.runtimes.tensorrt.engine import BuiltEngine, build_engine
from qedeploy.runtimes.tensorrt.fallback import without_quantization
from qedeploy.runtimes.tensorrt.machine import Gpu, TensorrtMachine, probe
from qedeploy.runtimes.tensorrt.settings import EngineSettings


class EngineChoice(StrEnum):
    """Whether an export builds an engine: if it can, or else fails, or not at all."""

    AUTO = "auto"
    REQUIRED = "required"
    NEVER = "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOutcome:
    """The engine, or in one line why there is none; the export as it stands, which a fallback may have changed."""

    export: ExportResult
    engine: BuiltEngine | None = None
    reason: str = ""

    @property
    def path(self) -> Path:
        """Return what is to be run: the engine's plan, or the ONNX file where there is none."""
        return self.export.model if self.engine is None else self.engine.plan


def export_engine(
    result: ExportResult,
    choice: EngineChoice,
    settings: EngineSettings,
    *,
    on_event: Emit = lambda _event: None,
    look: Callable[[], TensorrtMachine] = probe,
) -> EngineOutcome:
    """Build the engine of an export as `choice` says, beside its ONNX file.

    Raises RequestError where TensorRT cannot build it or the profile is not for TensorRT, and MissingRuntimeError where
    an engine is required and TensorRT or a GPU is missing.
    """
    if result.plan.runtime is not Runtime.TENSORRT:
        if choice is EngineChoice.REQUIRED:
            raise RequestError(
                f"--engine required: profile {result.plan.profile} runs on {result.plan.runtime}, which has no "
                "engines: choose a profile with runtime tensorrt (qedeploy profiles lists them)"
            )
        return EngineOutcome(export=result)
    if choice is EngineChoice.NEVER:
        return EngineOutcome(export=result, reason="not asked for (--engine never)")
    try:
        version, gpu = look().require()
    except MissingRuntimeError as error:
        if choice is EngineChoice.REQUIRED:
            raise MissingRuntimeError(
                f"{result.model} is written; {engine_path(result.model)} is not: {error}"
            ) from error
        return EngineOutcome(export=result, reason=str(error))
    return _built(result, version, gpu, settings, on_event)


def _built(result: ExportResult, version: str, gpu: Gpu, settings: EngineSettings, on_event: Emit) -> EngineOutcome:
    current = result

    def revise(layers: tuple[str, ...]) -> ModelMetadata:
        nonlocal current
        current = export_again(current, without_quantization(current.prepared.network, layers))
        return _metadata(current)

    engine = build_engine(
        result.model,
        engine_path(result.model),
        version=version,
        gpu=gpu,
        metadata=_metadata(result),
        revise=revise,
        settings=settings,
        on_event=on_event,
    )
    return EngineOutcome(export=current, engine=engine)


def engine_path(model: Path) -> Path:
    """Return where the engine of an ONNX file goes: engine.plan beside model.onnx, else under the file's own name."""
    return model.with_name("engine.plan") if model.stem == "model" else model.with_suffix(".plan")


def _metadata(result: ExportResult) -> ModelMetadata:
    network = result.prepared.network
    return ModelMetadata(graph=network.graph, profile=network.plan.profile, plan=network.plan)
