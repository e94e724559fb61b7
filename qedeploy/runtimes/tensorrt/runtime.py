"""TensorRT as a Runtime: builds an engine of an exported file, and runs it in a process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qedeploy.profiles.capabilities import Capabilities
from qedeploy.runtimes.base import Artefact, BuildSource, OnEvent, ignore
from qedeploy.runtimes.findings import Finding
from qedeploy.runtimes.nvidia.engine_runtime import LOWERINGS, RESTRICTIONS, UNSIGNED_ACTIVATION_BITS, EngineRuntime
from qedeploy.runtimes.nvidia.product import TENSORRT
from qedeploy.runtimes.options import Settings
from qedeploy.runtimes.recorded import RecordedRun, Recordings

if TYPE_CHECKING:
    from qedeploy.qdq.dialect import Dialect


def _require_recording(folder: Path) -> None:
    from qedeploy.runtimes.tensorrt.trtexec import require_folder

    require_folder(folder)


def _read_recording(folder: Path) -> RecordedRun:
    from qedeploy.runtimes.tensorrt.recording import recorded_run

    return recorded_run(folder)


class TensorRT(EngineRuntime):
    """TensorRT 10.16 and 11 on the first GPU."""

    name = "tensorrt"
    label = TENSORRT.label
    product = TENSORRT
    capabilities = Capabilities(
        lowerings=LOWERINGS, unsigned_activation_bits=UNSIGNED_ACTIVATION_BITS, restrictions=RESTRICTIONS
    )
    dialects = ("tensorrt",)
    packages = ("tensorrt",)
    recordings = (
        Recordings(
            tool="trtexec",
            help="Report what trtexec exported to a folder, instead of measuring.",
            require=_require_recording,
            read=_read_recording,
        ),
    )

    def dialect(self, name: str) -> Dialect:
        """Return the one dialect."""
        from qedeploy.runtimes.nvidia.dialect import TensorRTDialect

        del name
        return TensorRTDialect()

    def build(
        self, source: BuildSource, target: Path, settings: Settings, batch: int | None, on_event: OnEvent = ignore
    ) -> Artefact:
        """Build the engine for the GPU that is here, with engine.json beside it."""
        version, gpu = self._look().require()
        return self._built(source, target, settings, batch, on_event, version=version, gpu=gpu)

    def findings(self) -> tuple[Finding, ...]:
        """Return whether TensorRT, a GPU, and so engines are to be had here."""
        from qedeploy.runtimes.nvidia.doctor import findings

        return findings(self._look)
