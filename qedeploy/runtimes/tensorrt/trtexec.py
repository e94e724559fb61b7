"""Reading what trtexec wrote elsewhere: --exportTimes, --exportProfile and --exportLayerInfo, told by content."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qedeploy.errors import UserError
from qedeploy.qdq.metadata import ModelMetadata, read_metadata
from qedeploy.runtimes.tensorrt.inspector import EngineDescription, read_description
from qedeploy.runtimes.tensorrt.record import FORMAT, EngineRecord, parse_record
from qedeploy.runtimes.tensorrt.times import EngineTimes
from qedeploy.schema import read_json

_HOW = "trtexec --loadEngine=engine.plan --exportTimes=times.json --exportProfile=profile.json \
--exportLayerInfo=layers.json --profilingVerbosity=detailed"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recording:
    """What a folder of trtexec's files holds; `profile` are mean seconds per query by the engine's layer names.

    `source` is the file of the times. Without engine.json or a model.onnx of ours, `metadata` is None.
    """

    source: Path
    times: EngineTimes
    profile: Mapping[str, float]
    profiled_queries: int
    description: EngineDescription | None
    record: EngineRecord | None
    metadata: ModelMetadata | None


def read_recording(folder: Path) -> Recording:
    """Return the recording in `folder`.

    Raises UserError where it is no folder, has no times, has two of a kind, or holds one that is damaged.
    """
    require_folder(folder)
    files = {path: read_json(path) for path in sorted(folder.glob("*.json"))}
    times = _one(folder, files, _is_times, "query times (--exportTimes)")
    profile = _one(folder, files, _is_profile, "a profile (--exportProfile)")
    layers = _one(folder, files, _is_layers, "layer information (--exportLayerInfo)")
    record = _one(folder, files, _is_record, "an engine.json")
    if times is None or profile is None:
        missing = "query times" if times is None else "a profile"
        raise UserError(f"{folder}: expected {missing} among its JSON files, found none; write them with {_HOW}")
    found = parse_record(files[record], record) if record is not None else None
    seconds, queries = _profile(files[profile], profile)
    return Recording(
        source=times,
        times=_times(files[times], times),
        profile=seconds,
        profiled_queries=queries,
        description=read_description(files[layers], layers) if layers is not None else None,
        record=found,
        metadata=found.metadata if found is not None else _metadata(folder),
    )


def require_folder(folder: Path) -> None:
    """Raise UserError where `folder` is none."""
    if not folder.is_dir():
        raise UserError(f"{folder}: expected a folder with trtexec's JSON files; write them with {_HOW}")


def _one(folder: Path, files: Mapping[Path, Any], matches: Any, what: str) -> Path | None:
    found = [path for path, data in files.items() if matches(data)]
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise UserError(f"{folder}: expected one file with {what}, found {names}: keep one run in a folder")
    return found[0] if found else None


def _is_times(data: Any) -> bool:
    return isinstance(data, list) and bool(data) and isinstance(data[0], dict) and "computeMs" in data[0]


def _is_profile(data: Any) -> bool:
    return isinstance(data, list) and bool(data) and isinstance(data[0], dict) and "count" in data[0]


def _is_layers(data: Any) -> bool:
    return isinstance(data, dict) and isinstance(data.get("Layers"), list)


def _is_record(data: Any) -> bool:
    return isinstance(data, dict) and data.get("format") == FORMAT


def _times(rows: Sequence[Any], path: Path) -> EngineTimes:
    try:
        columns = {
            "latency": [float(row["latencyMs"]) for row in rows],
            "gpu": [float(row["computeMs"]) for row in rows],
            "enqueue": [float(row["endEnqMs"]) - float(row["startEnqMs"]) for row in rows],
            "upload": [float(row["h2dMs"]) for row in rows],
            "download": [float(row["d2hMs"]) for row in rows],
        }
        # The host's wall time is not in the file: from the first launch to the last result is nearest to it.
        elapsed = max(float(row["endD2hMs"]) for row in rows) - min(float(row["startEnqMs"]) for row in rows)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: not what trtexec --exportTimes writes: {error!r}: record it again") from error
    times = EngineTimes.of_milliseconds(columns, elapsed=elapsed * 1e-3)
    if not all(np.isfinite(values).all() for values in (times.latency, times.gpu)) or times.gpu.min() <= 0:
        raise UserError(f"{path}: holds times that are not positive numbers: record it again")
    return times


def _profile(rows: Sequence[Any], path: Path) -> tuple[dict[str, float], int]:
    seconds: dict[str, float] = {}
    try:
        for row in rows[1:]:
            seconds[row["name"]] = seconds.get(row["name"], 0.0) + float(row["averageMs"]) * 1e-3
        return seconds, int(rows[0]["count"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: not what trtexec --exportProfile writes: {error!r}: record it again") from error


def _metadata(folder: Path) -> ModelMetadata | None:
    for path in sorted(folder.glob("*.onnx")):
        found = read_metadata(path)
        if found is not None:
            return found
    return None
