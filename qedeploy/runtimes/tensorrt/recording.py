"""A run that trtexec recorded, here or elsewhere, as every recorded run."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from qedeploy.errors import UserError
from qedeploy.runtimes.nvidia.engine_names import without_profile
from qedeploy.runtimes.nvidia.join import of_another_network, timed_profiles
from qedeploy.runtimes.nvidia.report import assemble, runtime_report
from qedeploy.runtimes.nvidia.runner import network_of, profile_of
from qedeploy.runtimes.nvidia.times import summarize
from qedeploy.runtimes.recorded import RecordedRun
from qedeploy.runtimes.runner import RunnerDescription
from qedeploy.runtimes.tensorrt.trtexec import Recording, read_recording
from qedeploy.runtimes.timing import Samples
from qedeploy.words import listed


def recorded_run(folder: Path) -> RecordedRun:
    """Return the run in the trtexec files of `folder`; raises UserError where they are missing or damaged."""
    recording = read_recording(folder)
    _require_one_engine(recording)
    profile, rows = profile_of(_profiled(recording), recording.description, recording.metadata)
    times = summarize(recording.times)
    report = assemble(
        times=times,
        rows=rows,
        metadata=recording.metadata,
        dropped=recording.record.dropped if recording.record is not None else (),
        conditions=None,
        notes=_notes(recording),
    )
    description = _description(recording)
    told = runtime_report(report, description.settings)
    return RecordedRun(
        source=recording.source,
        description=description,
        metadata=recording.metadata,
        samples=Samples(latency=recording.times.latency, elapsed=recording.times.elapsed),
        profile=dataclasses.replace(
            profile,
            queries=recording.profiled_queries,
            statistic="mean time, as trtexec has it,",
            beside=("median GPU time of the run without the profiler", times.gpu.median),
            around=False,
        ),
        report=dataclasses.replace(told, findings=(*told.findings, _against_gpu(profile.whole, times.gpu.median))),
    )


def _against_gpu(profiled: float, gpu: float) -> str:
    # Copies and the host's share are in a query's latency, and in no layer.
    return (
        f"The profiled layers take {profiled * 1e3:.3f} ms together (sum of means), {profiled / gpu:.2f}x the GPU time "
        f"without the profiler ({gpu * 1e3:.3f} ms, median)."
    )


def _require_one_engine(recording: Recording) -> None:
    """Raise UserError where the files of a folder are of different engines or networks."""
    names, file = list(recording.profile), recording.profile_file
    known = recording.description.layers if recording.description is not None else ()
    if known and not {without_profile(name) for name in names} & {without_profile(layer.name) for layer in known}:
        raise UserError(
            f"{file}: of another engine than the layer information beside it: none of its {len(names)} layers "
            f"({listed(names)}) is among the {len(known)} there: keep the files of one run in a folder"
        )
    told = [*names, *(node for layer in known for node in layer.parts.mentioned)]
    if of_another_network(told, network_of(recording.metadata)):
        raise UserError(
            f"{file}: of another network than the model beside it: none of its {len(names)} layers ({listed(names)}) "
            "is one of the model's: put the model that the engine was built from into the folder, or none"
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
    profiles = timed_profiles(list(recording.profile))
    if profiles != (0,):
        numbers = ", ".join(map(str, profiles))
        notes.append(
            f"The engine has several optimisation profiles: the times are of profile {numbers} (0 is the first)."
        )
    if recording.description is not None and not recording.description.detailed:
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
