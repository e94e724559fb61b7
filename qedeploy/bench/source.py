"""Where a result comes from: a model that is measured here, or a run that another tool recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from qedeploy.bench.benchmark import BenchOptions, benchmark
from qedeploy.bench.report.document import BenchResult
from qedeploy.bench.report.output import output_folder
from qedeploy.errors import UserError
from qedeploy.runtimes.recorded import Recordings
from qedeploy.runtimes.registry import recordings


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOrRecording:
    """Exactly one of a model file and a folder in which a tool recorded a run: `recorded` has folders by the tool."""

    model: Path | None = None
    recorded: Mapping[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        given = [f"--from-{tool}" for tool in self.recorded]
        if self.model is None and not given:
            offered = "".join(f", or --from-{tool} DIR" for tool in recordings())
            raise UserError(f"expected a model to measure{offered}, found neither")
        if len(given) + (self.model is not None) > 1:
            found = ", ".join([*([str(self.model)] if self.model is not None else []), *given])
            raise UserError(f"expected a model to measure or one recorded run, found {found}: name one")

    def folder(self, out: Path | None) -> Path:
        """Return where the results go; raises UserError where they cannot."""
        if self.model is not None:
            return output_folder(self.model, out)
        source, folder = self._recording()
        source.require(folder)
        # Results of a recorded run go into its folder.
        return output_folder(folder / "recording", out)

    def result(self, options: BenchOptions, progress: Callable[[str], None]) -> BenchResult:
        """Return the result of a measurement here, or that of the recording."""
        if self.model is not None:
            return benchmark(self.model, options, progress)
        from qedeploy.bench.recorded import report_recording

        return report_recording(*self._recording(), options)

    def _recording(self) -> tuple[Recordings, Path]:
        known = recordings()
        for tool, folder in self.recorded.items():
            if tool not in known:
                raise UserError(f"no recordings of {tool} can be read, expected one of {', '.join(known) or 'none'}")
            return known[tool], folder
        raise ValueError("there is no recording")
