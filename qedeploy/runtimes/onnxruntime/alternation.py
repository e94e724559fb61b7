"""Several models in turn, query by query, with ONNX Runtime's profiler on: what each node took while all met the same.

Two models that share most of their nodes tell each other's pace: what a shared node took longer in one than in the
other is the machine's doing, and is taken out of what the rest took.
"""

from __future__ import annotations

import json
import re
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qedeploy.runtimes.timing import Samples, TimingProtocol, collect

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_MICROSECOND = 1e-6
_MOVES = frozenset({"ReorderInput", "ReorderOutput", "Transpose"})
"""Nodes that the runtime puts in under names of its own: told apart by what they move."""
_QUARTILE = 25
"""Percentile of a node's times that stands for it: what interrupts a query makes it longer, never shorter."""

Feed = Mapping[str, NDArray[Any]]
_Key = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NodeTimes:
    """What each kind of node of one model took per query, in seconds, by a key that other models' nodes share."""

    seconds: Mapping[_Key, tuple[float, ...]]

    @property
    def total(self) -> float:
        """Sum over all nodes."""
        return sum(map(sum, self.seconds.values()))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AlternatedRun:
    """One model's nodes, and what it made of each feed: `outputs[feed][output]`."""

    nodes: NodeTimes
    outputs: Sequence[Sequence[NDArray[Any]]]


def run_alternately(
    models: Mapping[str, bytes], feeds: Sequence[Feed], *, seconds: float, threads: int = 1
) -> dict[str, AlternatedRun]:
    """Run every model on every feed in turn, and then on for about `seconds` in all; returns a run for each model.

    Raises the runtime's own exceptions where it refuses a model.
    """
    with tempfile.TemporaryDirectory(prefix="qedeploy-turns-") as folder, ExitStack() as stack:
        sessions = {
            name: _session(model, Path(folder) / str(index), threads)
            for index, (name, model) in enumerate(models.items())
        }
        stack.callback(sessions.clear)
        for session in sessions.values():
            session.run(None, dict(feeds[0]))
        outputs: dict[str, list[Sequence[NDArray[Any]]]] = {name: [] for name in sessions}
        end, turn = time.perf_counter() + seconds, 0
        while turn < len(feeds) or time.perf_counter() < end:
            feed = dict(feeds[turn % len(feeds)])
            for name in list(sessions)[:: 1 if turn % 2 == 0 else -1]:
                made = sessions[name].run(None, feed)
                if turn < len(feeds):
                    outputs[name].append(made)
            turn += 1
        traces = {name: Path(session.end_profiling()).read_bytes() for name, session in sessions.items()}
    return {
        name: AlternatedRun(nodes=_node_times(json.loads(trace)), outputs=outputs[name])
        for name, trace in traces.items()
    }


def added_seconds(reference: NodeTimes, changed: NodeTimes) -> float:
    """Return what a query of `changed` takes more than one of `reference` (seconds), at the reference's pace.

    The nodes that both have are the pace, and no part of the difference.
    """
    shared = {key for key, times in reference.seconds.items() if len(changed.seconds.get(key, ())) == len(times)}
    pace = 1.0
    if shared:
        own, other = (sum(sum(nodes.seconds[key]) for key in shared) for nodes in (changed, reference))
        # Too little in common says nothing of the pace: both ran in turn, so that it is about the same.
        if other > reference.total / 10:
            pace = own / other
    first, second = (
        sum(sum(times) for key, times in nodes.seconds.items() if key not in shared) for nodes in (reference, changed)
    )
    return second / pace - first


class TimedSession:
    """One model in memory, measured on one feed as a user's own session runs it.

    With one thread the clock is that thread's, which stands still while other processes have the core; with more it is
    the wall's.
    """

    def __init__(self, model: bytes, feed: Feed, threads: int) -> None:
        self._session = _session(model, None, threads)
        self._feed = dict(feed)
        self._clock = time.thread_time if threads == 1 else time.perf_counter

    def measure(self, protocol: TimingProtocol) -> Samples:
        """Return the time of each query under `protocol` (seconds)."""
        return collect(lambda: self._session.run(None, self._feed), protocol, self._clock)


def _session(model: bytes, prefix: Path | None, threads: int) -> InferenceSession:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    if prefix is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(prefix)
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _node_times(events: Sequence[Mapping[str, Any]]) -> NodeTimes:
    durations: dict[tuple[_Key, str], list[float]] = {}
    for event in events:
        if event["cat"] != "Node" or not event["name"].endswith("_kernel_time"):
            continue
        node = (_key(event), str(event["args"]["node_index"]))
        durations.setdefault(node, []).append(event["dur"] * _MICROSECOND)
    seconds: dict[_Key, list[float]] = {}
    for (key, _), times in durations.items():
        # The first query of a session prepares what later ones find ready.
        seconds.setdefault(key, []).append(float(np.percentile(times[1:] or times, _QUARTILE)))
    return NodeTimes(seconds={key: tuple(times) for key, times in seconds.items()})


def _key(event: Mapping[str, Any]) -> _Key:
    arguments = event["args"]
    shapes = json.dumps([arguments.get("input_type_shape"), arguments.get("output_type_shape")])
    if arguments["op_name"] in _MOVES:
        return (arguments["op_name"], shapes)
    name = re.sub(r"(_token_\d+|_nchwc)+$", "", event["name"].removesuffix("_kernel_time"))
    return (arguments["op_name"], shapes, name)


def operator_counts(model: bytes) -> Counter[str]:
    """Return how many nodes of each operator ONNX Runtime makes of `model`."""
    return Counter(operator for _, operator in optimised_nodes(model))


def optimised_nodes(model: bytes) -> list[tuple[str, str]]:
    """Return name and operator of every node that ONNX Runtime makes of `model`, names as they were in the file."""
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    with tempfile.TemporaryDirectory(prefix="qedeploy-optimised-") as folder:
        options.optimized_model_filepath = str(Path(folder) / "optimised.onnx")
        onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        graph = onnx.load(options.optimized_model_filepath).graph
    return [(re.sub(r"(_token_\d+|_nchwc)+$", "", node.name), node.op_type) for node in graph.node]
