"""A run that trtexec recorded, here or elsewhere, as the same result that a measurement here gives."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from qedeploy.bench.benchmark import BenchOptions, Measured, result_of
from qedeploy.bench.measure.machine import Machine
from qedeploy.bench.prediction.expected import expect
from qedeploy.bench.report.document import BenchResult
from qedeploy.errors import UserError
from qedeploy.runtimes.runner import RunnerDescription
from qedeploy.runtimes.tensorrt.report import assemble
from qedeploy.runtimes.tensorrt.runner import profile_of
from qedeploy.runtimes.tensorrt.times import summarize
from qedeploy.runtimes.tensorrt.trtexec import Recording, read_recording
from qedeploy.runtimes.timing import Samples

_UNKNOWN = "not recorded (measured by trtexec)"


def report_recording(folder: Path, options: BenchOptions) -> BenchResult:
    """Return the result of the trtexec files in `folder`; gates on a figure of its own are judged.

    Raises UserError where the files are missing or damaged, or where an option needs a model to run.
    """
    if options.against is not None:
        raise UserError(
            "--against: cannot be timed in alternation with a recorded run: bench both plans on one machine"
        )
    if options.table.update:
        raise UserError("--update-table: expected a model that is measured here, found a recorded run: leave one out")
    recording = read_recording(folder)
    profile, rows = profile_of(_profiled(recording), recording.description, recording.metadata)
    report = assemble(
        times=summarize(recording.times),
        rows=rows,
        metadata=recording.metadata,
        dropped=recording.record.dropped if recording.record is not None else (),
        conditions=None,
        notes=_notes(recording),
    )
    machine, description = _machine(), _description(recording)
    expectation, problem = expect(recording.metadata, options.table, machine, description)
    measured = Measured(
        machine=machine,
        description=description,
        metadata=recording.metadata,
        against=None,
        samples=Samples(latency=recording.times.latency, elapsed=recording.times.elapsed),
        rounds={},
        profile=dataclasses.replace(profile, queries=recording.profiled_queries),
        engine=report,
        expectation=expectation,
        no_expectation=problem,
    )
    return result_of(recording.source, options, measured)


def _profiled(recording: Recording) -> dict[str, object]:
    milliseconds = {name: seconds * 1e3 for name, seconds in recording.profile.items()}
    whole = sum(milliseconds.values())
    return {"layers": [milliseconds], "whole": [whole], "inside": [whole]}


def _notes(recording: Recording) -> list[str]:
    notes = ["Recorded by trtexec: clocks, heat and settings of that run are not in its files."]
    if recording.metadata is None:
        notes.append(
            "Neither engine.json nor an exported model.onnx lies beside the recording: the engine's layers, bit widths "
            "and BitOps cannot be joined to its times; copy one of them into the folder."
        )
    if recording.description is None:
        notes.append(
            "No layer information is among the files: what ran in INT8 is unknown; record it with --exportLayerInfo "
            "and --profilingVerbosity=detailed."
        )
    elif not recording.description.detailed:
        notes.append("The layer information is without details: record it with --profilingVerbosity=detailed.")
    return notes


def _description(recording: Recording) -> RunnerDescription:
    record, times = recording.record, recording.times
    return RunnerDescription(
        runtime="TensorRT",
        version=record.tensorrt if record is not None else "of unknown version",
        device=str(record.gpu) if record is not None and record.gpu is not None else "GPU not recorded",
        latency="as trtexec counts it: copies in, GPU time, copies out; two queries may be in flight",
        inputs=(),
        batch=record.settings.batch.optimum if record is not None else 1,
        threads=1,
        settings={
            "source": "trtexec",
            "transfers": "measured" if times.upload.any() or times.download.any() else "left out",
        },
    )


def _machine() -> Machine:
    return Machine(
        cpu=_UNKNOWN,
        physical_cores=None,
        logical_cores=None,
        usable_cores=1,
        instruction_sets=(),
        memory_bytes=0,
        system=_UNKNOWN,
        python=_UNKNOWN,
        packages=(),
        governor=None,
        load=None,
    )
