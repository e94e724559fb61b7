"""Where a result comes from: a model that is measured here, or a run that another tool recorded."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from qedeploy.bench.benchmark import BenchOptions, Progress, benchmark
from qedeploy.bench.measure.stage import BenchStage
from qedeploy.bench.report.document import BenchResult
from qedeploy.bench.report.origin import accuracy_record
from qedeploy.bench.report.output import output_folder
from qedeploy.errors import UserError
from qedeploy.runtimes.recorded import Recordings
from qedeploy.runtimes.registry import recordings, runtimes

if TYPE_CHECKING:
    from qedeploy.train.evaluate import Evaluation

_SHOWN = 4


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
            _require_no_folder(self.model)
            return output_folder(self.model, out)
        source, folder = self._recording()
        source.require(folder)
        # Results of a recorded run go into its folder.
        return output_folder(folder / "recording", out)

    def result(self, options: BenchOptions, progress: Progress) -> BenchResult:
        """Return the result of a measurement here, or that of the recording."""
        if self.model is not None:
            _require_no_folder(self.model)
            return benchmark(self.model, options, progress)
        from qedeploy.bench.recorded import report_recording

        return report_recording(*self._recording(), options)

    def accuracy(self, data: Path, options: BenchOptions, progress: Progress) -> Evaluation:
        """Return what the model gets right of the test pictures of `data`; raises UserError for a recording."""
        if self.model is None:
            raise UserError("--data: a recorded run has no model here that could be judged: expected a model")
        from qedeploy.train.evaluate import EvaluateOptions, evaluate

        _require_no_folder(self.model)
        progress(BenchStage(text=f"counting what {self.model.name} gets right"))
        return evaluate(self.model, data, EvaluateOptions(threads=options.runner.threads))

    def _recording(self) -> tuple[Recordings, Path]:
        known = recordings()
        for tool, folder in self.recorded.items():
            if tool not in known:
                raise UserError(f"no recordings of {tool} can be read, expected one of {', '.join(known) or 'none'}")
            return known[tool], folder
        raise ValueError("there is no recording")


def with_accuracy(result: BenchResult, judged: Evaluation, folder: Path | None) -> BenchResult:
    """Return `result` with what its model gets right; accuracy.json and accuracy.html are written into a `folder`."""
    from qedeploy.train.accuracy_report import warnings, write_evaluation
    from qedeploy.train.evaluate import to_document

    if folder is not None:
        write_evaluation(judged, folder)
    around = dataclasses.replace(result.surroundings, accuracy=accuracy_record(to_document(judged)))
    return dataclasses.replace(result, surroundings=around, warnings=(*result.warnings, *warnings(judged)))


def _require_no_folder(path: Path) -> None:
    """Raise UserError, with the models that lie there, where a folder is named in a model's place."""
    if not path.is_dir():
        return
    suffixes = {suffix for runtime in runtimes() for suffix in runtime.suffixes}
    models = sorted(str(file) for file in path.iterdir() if file.suffix.lower() in suffixes)
    checkpoints = sorted(str(file) for file in path.glob("*.pth"))
    if models:
        hint = f"name the model in it: {' or '.join(models[:_SHOWN])}"
    elif checkpoints:
        hint = f"it holds no model yet: `qedeploy export {checkpoints[0]}` writes one"
    else:
        hint = f"it holds no model ({', '.join(sorted(suffixes))})"
    raise UserError(f"{path}: is a folder, expected a model: {hint}")
