"""Reading what trtexec wrote elsewhere: --exportTimes, --exportProfile and --exportLayerInfo, told by content."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qedeploy.contents import HEAD_BYTES, ContentKind, sniff
from qedeploy.errors import UserError
from qedeploy.files import LARGEST_TEXT, read_head
from qedeploy.qdq.metadata import ModelMetadata, read_metadata
from qedeploy.runtimes.nvidia.engine_names import parse_engine_name, without_profile
from qedeploy.runtimes.nvidia.inspector import EngineDescription, read_description
from qedeploy.runtimes.nvidia.record import FORMAT, EngineRecord, parse_record
from qedeploy.runtimes.nvidia.times import EngineTimes
from qedeploy.schema import read_json
from qedeploy.words import listed

_HOW = "trtexec --loadEngine=engine.plan --exportTimes=times.json --exportProfile=profile.json \
--exportLayerInfo=layers.json --profilingVerbosity=detailed"
_MARKS = ("computeMs", "averageMs", '"Layers"')
"""What stands in the files of trtexec, whatever they are called."""

_OLD_KEYS = ("startInMs", "inMs", "endToEndMs")
"""Keys of TensorRT 7 and before, which counted other parts of a query."""

_MOST_FILES = 1000
_LONGEST = 1e9
"""Milliseconds over which a time is none: eleven days."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recording:
    """What a folder of trtexec's files holds; `profile` are mean seconds per query by the engine's layer names.

    `source` is the file of the times, `profile_file` that of the profile. Without engine.json or a model.onnx of ours,
    `metadata` is None.
    """

    source: Path
    profile_file: Path
    times: EngineTimes
    profile: Mapping[str, float]
    profiled_queries: int
    description: EngineDescription | None
    record: EngineRecord | None
    metadata: ModelMetadata | None


def read_recording(folder: Path) -> Recording:
    """Return the recording in `folder`, whose files may be called anything.

    Raises UserError where it is no folder, has no times, has two of a kind, or holds one that is damaged or of another
    TensorRT.
    """
    require_folder(folder)
    files = _documents(folder)
    times = _one(folder, files, _is_times, "query times (--exportTimes)")
    profile = _one(folder, files, _is_profile, "a profile (--exportProfile)")
    layers = _one(folder, files, _is_layers, "layer information (--exportLayerInfo)")
    record = _one(folder, files, _is_record, "an engine.json")
    if times is None or profile is None:
        missing = "query times (--exportTimes)" if times is None else "a profile (--exportProfile)"
        there = [path.name for path in sorted(folder.iterdir())]
        raise UserError(
            f"{folder}: expected {missing} among its files, found {listed(there) or 'none'}; write them with {_HOW}"
        )
    found = parse_record(files[record], record) if record is not None else None
    seconds, queries = _profile(files[profile], profile)
    return Recording(
        source=times,
        profile_file=profile,
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
        raise UserError(f"{folder}: expected a folder with trtexec's files; write them with {_HOW}")


def _documents(folder: Path) -> dict[Path, Any]:
    """Return the JSON in a folder's files by their paths, whatever they end in."""
    try:
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.is_file())
    except OSError as error:
        raise UserError(f"{folder}: cannot be read: {error.strerror or error}") from error
    if len(paths) > _MOST_FILES:
        raise UserError(f"{folder}: expected at most {_MOST_FILES} files, found {len(paths)}: name the recording's own")
    found = {}
    for path in paths:
        named = path.suffix.lower() == ".json"
        content = sniff(read_head(path)[:HEAD_BYTES])
        if not named and (content.kind is not ContentKind.TEXT or path.stat().st_size > LARGEST_TEXT):
            continue
        try:
            found[path] = read_json(path)
        except UserError:
            if named or any(mark in path.read_text(errors="replace") for mark in _MARKS):
                raise
    return found


def _one(folder: Path, files: Mapping[Path, Any], matches: Callable[[Any], bool], what: str) -> Path | None:
    found = [path for path, data in files.items() if matches(data)]
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise UserError(f"{folder}: expected one file with {what}, found {names}: keep one run in a folder")
    return found[0] if found else None


def _is_times(data: Any) -> bool:
    return isinstance(data, list) and any(isinstance(row, dict) and "computeMs" in row for row in data[:2])


def _is_profile(data: Any) -> bool:
    return isinstance(data, list) and any(
        isinstance(row, dict) and {"count", "averageMs"} & set(row) for row in data[:2]
    )


def _is_layers(data: Any) -> bool:
    return isinstance(data, dict) and isinstance(data.get("Layers"), list)


def _is_record(data: Any) -> bool:
    return isinstance(data, dict) and data.get("format") == FORMAT


def _times(rows: Sequence[Any], path: Path) -> EngineTimes:
    columns: dict[str, list[float]] = {"latency": [], "gpu": [], "enqueue": [], "upload": [], "download": []}
    starts, ends = [], []
    for number, row in enumerate(rows, start=1):
        where = f"{path}: query {number}"
        if isinstance(row, dict) and any(key in row for key in _OLD_KEYS) and "h2dMs" not in row:
            old = ", ".join(key for key in _OLD_KEYS if key in row)
            raise UserError(
                f"{path}: the times of TensorRT 7 or older ({old}), which "
                "counts other parts of a query: expected those of TensorRT 8 or newer (h2dMs, computeMs, d2hMs, "
                "latencyMs): record it again with that trtexec"
            )
        value = _reader(row, where)
        columns["latency"].append(value("latencyMs"))
        columns["gpu"].append(value("computeMs"))
        columns["upload"].append(value("h2dMs"))
        columns["download"].append(value("d2hMs"))
        starts.append(value("startEnqMs"))
        ends.append(value("endD2hMs"))
        columns["enqueue"].append(value("endEnqMs") - starts[-1])
        if columns["enqueue"][-1] < 0 or columns["gpu"][-1] == 0 or columns["latency"][-1] == 0:
            raise UserError(f"{where}: takes no time, or ends before it begins: record it again")
    # The host's wall time is not in the file: from the first launch to the last result is nearest to it.
    elapsed = max(ends) - min(starts)
    if elapsed <= 0:
        raise UserError(f"{path}: its last query ends no later than its first begins: record it again")
    return EngineTimes.of_milliseconds(columns, elapsed=elapsed * 1e-3)


def _profile(rows: Sequence[Any], path: Path) -> tuple[dict[str, float], int]:
    seconds: dict[str, float] = {}
    count: object = None
    for row in rows:
        if isinstance(row, dict) and "count" in row and "name" not in row:
            count = row["count"]
            continue
        name = row.get("name") if isinstance(row, dict) else None
        if not isinstance(name, str) or not name.strip():
            raise UserError(f"{path}: expected a layer with a name, found {row!r:.80}: record it again")
        seconds[name] = seconds.get(name, 0.0) + _reader(row, f"{path}: {name}")("averageMs") * 1e-3
    if type(count) is not int or count < 1:
        raise UserError(f"{path}: count: expected how many queries were profiled, found {count!r:.80}: record it again")
    _require_one_profile(seconds, path)
    if not any(seconds.values()):
        raise UserError(f"{path}: none of its {len(seconds)} layers takes any time: record it again")
    return seconds, count


def _require_one_profile(seconds: Mapping[str, float], path: Path) -> None:
    """Raise UserError where the same layers took time in several optimisation profiles: no run executes two."""
    found: dict[str, int] = {}
    for name in (name for name, taken in seconds.items() if taken):
        number, layer = parse_engine_name(name).profile, without_profile(name)
        other = found.setdefault(layer, number)
        if other != number:
            raise UserError(
                f"{path}: {layer}: has times in the optimisation profiles {other} and {number}, and nothing says which "
                "of them the query times are of: record one run for each (trtexec --useProfile), each in its folder"
            )


def _reader(row: object, where: str) -> Callable[[str], float]:
    """Return a function that reads one time in milliseconds from `row`; it raises UserError where there is none."""

    def value(key: str) -> float:
        found = row.get(key) if isinstance(row, dict) else None
        if isinstance(found, bool) or not isinstance(found, int | float):
            what = "nothing" if found is None else json.dumps(found)
            raise UserError(f"{where}: {key}: expected milliseconds, found {what:.80}: record it again")
        if not math.isfinite(found) or not 0 <= found <= _LONGEST:
            raise UserError(
                f"{where}: {key}: expected a finite number of milliseconds, 0 or more, found {found:g}: record it again"
            )
        return float(found)

    return value


def _metadata(folder: Path) -> ModelMetadata | None:
    for path in sorted(folder.glob("*.onnx")):
        found = read_metadata(path)
        if found is not None:
            return found
    return None
