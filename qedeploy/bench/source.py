"""Where a result comes from: a model that is measured here, or a run that trtexec recorded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from qedeploy.bench.benchmark import BenchOptions, benchmark
from qedeploy.bench.report.document import BenchResult
from qedeploy.bench.report.output import output_folder
from qedeploy.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Exactly one of a model file and a folder with trtexec's JSON files."""

    model: Path | None = None
    recording: Path | None = None

    def __post_init__(self) -> None:
        if self.model is None and self.recording is None:
            raise UserError("expected a model to measure, or --from-trtexec DIR, found neither")
        if self.model is not None and self.recording is not None:
            raise UserError(f"expected a model to measure or --from-trtexec DIR, found both ({self.model}): name one")

    def folder(self, out: Path | None) -> Path:
        """Return where the results go; raises UserError where they cannot."""
        if self.recording is not None:
            from qedeploy.runtimes.tensorrt.trtexec import require_folder

            require_folder(self.recording)
            return output_folder(self.recording / "times.json", out)
        return output_folder(self._model(), out)

    def result(self, options: BenchOptions, progress: Callable[[str], None]) -> BenchResult:
        """Return what was measured here, or what the recording says."""
        if self.recording is not None:
            from qedeploy.bench.trtexec_recording import report_recording

            return report_recording(self.recording, options)
        return benchmark(self._model(), options, progress)

    def _model(self) -> Path:
        if self.model is None:
            raise ValueError("a recording has no model")
        return self.model
