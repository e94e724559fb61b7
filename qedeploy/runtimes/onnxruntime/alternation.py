"""Several models in turn on ONNX Runtime, with its profiler on or with a clock around each query."""

from __future__ import annotations

import json
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qedeploy.runtimes.onnxruntime.node_names import NODE_NAMES
from qedeploy.runtimes.timing import Samples, TimingProtocol, collect
from qedeploy.runtimes.turns import AlternatedRun, Feed, NodeKey, NodeTimes, TimedRun

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_MICROSECOND = 1e-6
_MOVES = frozenset({"ReorderInput", "ReorderOutput", "Transpose"})
"""Nodes that the runtime puts in under names of its own: told apart by what they move."""
_QUARTILE = 25
"""Percentile of times that stands for them: what interrupts a query makes it longer, never shorter."""
_QUERIES_IN_A_TURN = 3
"""Queries of one model before the next has its turn: the first finds the caches full of what others left there."""


def run_alternately(
    models: Mapping[str, bytes], feeds: Sequence[Feed], seconds: float, threads: int
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
        outputs = _turns(sessions, feeds, seconds, lambda name, feed: sessions[name].run(None, feed))
        traces = {name: Path(session.end_profiling()).read_bytes() for name, session in sessions.items()}
    return {
        name: AlternatedRun(nodes=_node_times(json.loads(trace)), outputs=outputs[name])
        for name, trace in traces.items()
    }


def run_timed(models: Mapping[str, bytes], feeds: Sequence[Feed], seconds: float, threads: int) -> dict[str, TimedRun]:
    """Run models as `run_alternately` does, with a clock around each query instead of the profiler; raises as it does.

    The profiler adds microseconds to each node, and so more to a network of more nodes.
    """
    sessions = {name: _session(model, None, threads) for name, model in models.items()}
    clock, taken = _clock(threads), {name: list[float]() for name in models}

    def query(name: str, feed: dict[str, NDArray[Any]]) -> Sequence[NDArray[Any]]:
        began = clock()
        outputs: Sequence[NDArray[Any]] = sessions[name].run(None, feed)
        taken[name].append(clock() - began)
        return outputs

    outputs = _turns(sessions, feeds, seconds, query)
    return {name: TimedRun(seconds=_typical(times), outputs=outputs[name]) for name, times in taken.items()}


def _turns(
    names: Iterable[str],
    feeds: Sequence[Feed],
    seconds: float,
    query: Callable[[str, dict[str, NDArray[Any]]], Sequence[NDArray[Any]]],
) -> dict[str, list[Sequence[NDArray[Any]]]]:
    """Let `query` run each model by its name, on each feed and on for `seconds`; returns the outputs for each feed."""
    order = list(names)
    for name in order:
        query(name, dict(feeds[0]))
    outputs: dict[str, list[Sequence[NDArray[Any]]]] = {name: [] for name in order}
    end, turn = time.perf_counter() + seconds, 0
    while turn < len(feeds) or time.perf_counter() < end:
        feed = dict(feeds[turn % len(feeds)])
        for name in order[:: 1 if turn % 2 == 0 else -1]:
            made = [query(name, feed) for _ in range(_QUERIES_IN_A_TURN)]
            if turn < len(feeds):
                outputs[name].append(made[0])
        turn += 1
    return outputs


class TimedSession:
    """One model in memory, measured on one feed as a user's own session runs it.

    With one thread the clock is that thread's, which stands still while other processes have the core; with more it is
    the wall's.
    """

    def __init__(self, model: bytes, feed: Feed, threads: int) -> None:
        self._session = _session(model, None, threads)
        self._feed = dict(feed)
        self._clock = _clock(threads)

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


def _clock(threads: int) -> Callable[[], float]:
    return time.thread_time if threads == 1 else time.perf_counter


def _typical(times: Sequence[float]) -> float:
    """Return the time (seconds) that stands for those of all queries of `_turns`, in their order."""
    # The first query of a session prepares what later ones find ready.
    settled = [seconds for index, seconds in enumerate(times[1:]) if index % _QUERIES_IN_A_TURN]
    return float(np.percentile(settled or times, _QUARTILE))


def _node_times(events: Sequence[Mapping[str, Any]]) -> NodeTimes:
    durations: dict[tuple[NodeKey, str], list[float]] = {}
    for event in events:
        if event["cat"] != "Node" or not event["name"].endswith("_kernel_time"):
            continue
        node = (_key(event), str(event["args"]["node_index"]))
        durations.setdefault(node, []).append(event["dur"] * _MICROSECOND)
    seconds: dict[NodeKey, list[float]] = {}
    for (key, _), times in durations.items():
        seconds.setdefault(key, []).append(_typical(times))
    return NodeTimes(seconds={key: tuple(times) for key, times in seconds.items()})


def _key(event: Mapping[str, Any]) -> NodeKey:
    arguments = event["args"]
    shapes = json.dumps([arguments.get("input_type_shape"), arguments.get("output_type_shape")])
    if arguments["op_name"] in _MOVES:
        return (arguments["op_name"], shapes)
    name = re.sub(NODE_NAMES.added or "", "", event["name"].removesuffix("_kernel_time"))
    return (arguments["op_name"], shapes, name)


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
    return [(re.sub(NODE_NAMES.added or "", "", node.name), node.op_type) for node in graph.node]
