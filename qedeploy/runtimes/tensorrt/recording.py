"""A run that trtexec recorded, here or elsewhere, as every recorded run."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from qedeploy.runtimes.recorded import RecordedRun
from qedeploy.runtimes.runner import RunnerDescription
from qedeploy.runtimes.tensorrt.report import assemble, runtime_report
from qedeploy.runtimes.tensorrt.runner import profile_of
from qedeploy.runtimes.tensorrt.times import summarize
from qedeploy.runtimes.tensorrt.trtexec import Recording, read_recording
from qedeploy.runtimes.timing import Samples


def recorded_run(folder: Path) -> RecordedRun:
    """Return the run in the trtexec files of `folder`; raises UserError where they are missing or damaged."""
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
    description = _description(recording)
    return RecordedRun(
        source=recording.source,
        description=description,
        metadata=recording.metadata,
        samples=Samples(latency=recording.times.latency, elapsed=recording.times.elapsed),
        profile=dataclasses.replace(profile, queries=recording.profiled_queries),
        report=runtime_report(report, description.settings),
    )


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
