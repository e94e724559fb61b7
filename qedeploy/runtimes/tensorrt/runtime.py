"""TensorRT as a Runtime: builds an engine of an exported file, and runs it in a process of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from qedeploy.network.layers import LayerCategory
from qedeploy.profiles.capabilities import Capabilities, Restriction
from qedeploy.profiles.profile import Lowering
from qedeploy.runtimes.base import Artefact, BuildSource, OnEvent, Runtime, ignore
from qedeploy.runtimes.findings import Finding
from qedeploy.runtimes.options import Settings, chosen
from qedeploy.runtimes.recorded import RecordedRun, Recordings
from qedeploy.runtimes.tensorrt.options import BUILD_OPTIONS, RUN_OPTIONS

if TYPE_CHECKING:
    from qedeploy.qdq.dialect import Dialect
    from qedeploy.qdq.metadata import ModelMetadata
    from qedeploy.runtimes.runner import Runner, RunnerOptions
    from qedeploy.runtimes.tensorrt.machine import TensorrtMachine
    from qedeploy.runtimes.tensorrt.settings import EngineSettings

_MATRIX_PRODUCTS = Restriction(
    kinds=(LayerCategory.POINTWISE, LayerCategory.HEAD, LayerCategory.CLASSIFIER, LayerCategory.LINEAR),
    what="layers written as MatMul",
)
"""1x1 convolutions and the linear layer."""


def _probe() -> TensorrtMachine:
    from qedeploy.runtimes.tensorrt.machine import probe

    return probe()


def _require_recording(folder: Path) -> None:
    from qedeploy.runtimes.tensorrt.trtexec import require_folder

    require_folder(folder)


def _read_recording(folder: Path) -> RecordedRun:
    from qedeploy.runtimes.tensorrt.recording import recorded_run

    return recorded_run(folder)


class TensorRT(Runtime):
    """TensorRT 10.16 and 11 on the first GPU; `look` is what asks this machine for both."""

    name = "tensorrt"
    label = "TensorRT"
    capabilities = Capabilities(
        lowerings=(Lowering.INT8, Lowering.INT4_WEIGHT_ONLY, Lowering.FLOAT16, Lowering.FLOAT32),
        # Its Q saturates at -128..127, so that an unsigned value keeps 7 bits.
        unsigned_activation_bits=7,
        restrictions={Lowering.INT4_WEIGHT_ONLY: _MATRIX_PRODUCTS},
    )
    suffixes = (".plan", ".engine", ".trt")
    dialects = ("tensorrt",)
    packages = ("tensorrt",)
    artefact = "engine.plan"
    run_options = RUN_OPTIONS
    build_options = BUILD_OPTIONS
    recordings = (
        Recordings(
            tool="trtexec",
            help="Report what trtexec exported to a folder, instead of measuring.",
            require=_require_recording,
            read=_read_recording,
        ),
    )

    def __init__(self, look: Callable[[], TensorrtMachine] = _probe) -> None:
        self._look = look

    def dialect(self, name: str) -> Dialect:
        """Return the one dialect."""
        from qedeploy.runtimes.tensorrt.dialect import TensorRTDialect

        del name
        return TensorRTDialect()

    def open(self, path: Path, options: RunnerOptions) -> Runner:
        """Return the runner of a plan."""
        from qedeploy.runtimes.tensorrt.runner import TensorRTRunner

        return TensorRTRunner(path, options, look=self._look)

    def require(self) -> None:
        """Raise MissingRuntimeError where TensorRT or a GPU is missing."""
        self._look().require()

    def require_settings(self, settings: Settings, batch: int | None) -> None:
        """Raise UserError naming the option that cannot be read."""
        _engine_settings(settings, batch)

    def build(
        self, source: BuildSource, target: Path, settings: Settings, batch: int | None, on_event: OnEvent = ignore
    ) -> Artefact:
        """Build the engine, with engine.json beside it; layers without an INT8 kernel go to float16 where it may."""
        from qedeploy.runtimes.tensorrt.engine import build_engine
        from qedeploy.runtimes.tensorrt.fallback import without_quantization

        version, gpu = self._look().require()
        current = source

        def revise(layers: tuple[str, ...]) -> ModelMetadata:
            nonlocal current
            if current.rewrite is None or current.network is None:
                raise ValueError("a file that is not an export is not written again")
            current = current.rewrite(without_quantization(current.network, layers))
            if current.metadata is None:
                raise ValueError("an export says what it is")
            return current.metadata

        built = build_engine(
            source.model,
            target,
            version=version,
            gpu=gpu,
            metadata=source.metadata,
            revise=None if source.rewrite is None else revise,
            settings=_engine_settings(settings, batch),
            on_event=on_event,
        )
        record = built.record
        return Artefact(
            path=built.plan,
            size_bytes=built.plan_bytes,
            seconds=built.seconds,
            description=f"{self.label} {record.tensorrt} for {gpu}, batch {record.settings.batch}",
            warnings=tuple(f"{name}: no INT8 kernel on this GPU, runs in float16" for name in record.dropped),
        )

    def metadata(self, path: Path) -> ModelMetadata | None:
        """Return what the engine.json beside a plan says, None where there is none."""
        from qedeploy.runtimes.tensorrt.record import read_record

        record = read_record(path)
        return None if record is None else record.metadata

    def findings(self) -> tuple[Finding, ...]:
        """Return whether TensorRT, a GPU, and so engines are to be had here."""
        from qedeploy.runtimes.tensorrt.doctor import findings

        return findings(self._look)


def _engine_settings(settings: Settings, batch: int | None) -> EngineSettings:
    from qedeploy.runtimes.tensorrt.settings import parse_settings

    return parse_settings(batch=batch, **chosen(BUILD_OPTIONS, settings))
