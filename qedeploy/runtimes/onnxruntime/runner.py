"""ONNX Runtime on the CPU as a Runner: inputs and outputs are bound once, so that a query is little but the model."""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qedeploy.contents import ContentKind, found_instead
from qedeploy.errors import RequestError, UserError
from qedeploy.files import read_head
from qedeploy.runtimes.inputs import (
    chosen_shape,
    open_shape_error,
    random_values,
    require_inputs,
    require_shapes,
)
from qedeploy.runtimes.onnxruntime.node_names import NODE_NAMES
from qedeploy.runtimes.runner import CPU, InputTensor, NodeTime, ProfiledRun, RunnerDescription, RunnerOptions
from qedeploy.runtimes.timing import Samples, TimingProtocol, collect

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, IOBinding, SessionOptions

_PROVIDER = "CPUExecutionProvider"
_SETTINGS = {
    # Threads of a session that is not running now would otherwise spin on a core that another one is measured on.
    "session.force_spinning_stop": "1",
}
_ELEMENT_TYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(uint16)": np.uint16,
    "tensor(int16)": np.int16,
    "tensor(uint32)": np.uint32,
    "tensor(int32)": np.int32,
    "tensor(uint64)": np.uint64,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
}
_CONTROL_FLOW = {"If", "Loop", "Scan"}
_MICROSECOND = 1e-6
_SILENT = 4
_MEMORY_FACTOR = 6
_MAX_PROFILED_QUERIES = 500

_NodeKey = tuple[str, str, str]
"""Name, type and index of a node: the index tells nodes without a name apart."""


class OnnxRuntimeRunner:
    """Measures a `.onnx` file on the CPU with every graph optimisation on."""

    def __init__(self, path: Path, options: RunnerOptions) -> None:
        self._path = path
        self._options = options
        self._binding: IOBinding | None = None
        self._session: InferenceSession | None = None
        self._description: RunnerDescription | None = None

    def __enter__(self) -> Self:
        _require_model_file(self._path)
        options = _session_options(self._options.threads)
        self._session = _load(self._path, options)
        inputs = resolve_inputs(self._session, self._path, self._options)
        _require_memory(inputs, self._path)
        self._binding = self._bind(self._session, inputs)
        self._description = _describe(inputs, self._options, options)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._binding = self._session = None

    @property
    def description(self) -> RunnerDescription:
        """Return what is measured and how."""
        if self._description is None:
            raise RuntimeError("the runner has not been entered")
        return self._description

    def measure(self, protocol: TimingProtocol) -> Samples:
        """Return the latency of each query: the host's clock around one run, buffers bound, nothing copied."""
        session, binding = self._session, self._binding
        if session is None or binding is None:
            raise RuntimeError("the runner has not been entered")
        run = session.run_with_iobinding
        return collect(lambda: run(binding), protocol)

    def profile(self, protocol: TimingProtocol) -> ProfiledRun:
        """Return per-node times of a session of its own with ONNX Runtime's profiler on."""
        with tempfile.TemporaryDirectory(prefix="qedeploy-profile-") as folder:
            options = _session_options(self._options.threads)
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(folder) / "profile")
            session = _load(self._path, options)
            binding = self._bind(session, self.description.inputs)
            whole = _timed_runs(session, binding, protocol)
            events = json.loads(Path(session.end_profiling()).read_bytes())
        return reduce_events(events, whole)

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return the outputs of one query in the session that is timed, batch any where the model leaves it open.

        What is timed is what answers: on an x86 CPU without VNNI its fast kernels may saturate, which the description
        then says.
        """
        session = self._session
        if session is None:
            raise RuntimeError("the runner has not been entered")
        tensors = session.get_inputs()
        shapes = {item.name: tuple(n if isinstance(n, int) else None for n in item.shape) for item in tensors}
        require_inputs(self._path, shapes, inputs)
        feeds: dict[str, NDArray[Any]] = {
            item.name: np.asarray(inputs[item.name], _ELEMENT_TYPES[item.type]) for item in tensors
        }
        names = [output.name for output in session.get_outputs()]
        try:
            return dict(zip(names, session.run(names, feeds), strict=True))
        except Exception as error:
            raise RequestError(f"{self._path}: ONNX Runtime cannot execute it: {_reason(error)}") from error

    def _bind(self, session: InferenceSession, inputs: tuple[InputTensor, ...]) -> IOBinding:
        generator = np.random.default_rng(self._options.seed)
        binding = session.io_binding()
        try:
            for tensor in inputs:
                binding.bind_cpu_input(
                    tensor.name, random_values(tensor.shape, _ELEMENT_TYPES[tensor.element_type], generator)
                )
            for output in session.get_outputs():
                binding.bind_output(output.name, "cpu")
            session.run_with_iobinding(binding)
            # The shapes are known now: bound to buffers that stay, outputs cost no allocation per query.
            for output, value in zip(session.get_outputs(), binding.get_outputs(), strict=True):
                if value.is_tensor():
                    binding.bind_ortvalue_output(output.name, value)
            # Once more: where a file declares other sizes than it computes, it is the second run that fails.
            session.run_with_iobinding(binding)
        except Exception as error:
            raise RequestError(f"{self._path}: ONNX Runtime cannot execute it: {_reason(error)}") from error
        return binding


def resolve_inputs(session: InferenceSession, path: Path, options: RunnerOptions) -> tuple[InputTensor, ...]:
    """Return the inputs with their open sizes set; raises UserError naming the input that cannot be made up."""
    tensors = session.get_inputs()
    if not tensors:
        raise UserError(f"{path}: has no inputs: expected a model that computes from at least one")
    require_shapes(path, [tensor.name for tensor in tensors], options.shapes)
    batch_names = {tensor.shape[0] for tensor in tensors if tensor.shape and not isinstance(tensor.shape[0], int)}
    return tuple(_resolve(tensor, path, options, batch_names) for tensor in tensors)


def _resolve(tensor: Any, path: Path, options: RunnerOptions, batch_names: set[str | None]) -> InputTensor:
    batch = options.batch
    where = f"{path}: input {tensor.name!r}"
    if tensor.type not in _ELEMENT_TYPES:
        known = ", ".join(sorted(_ELEMENT_TYPES))
        raise UserError(f"{where} is a {tensor.type}: expected one of {known}, for which values can be made up")
    shape = []
    there = tuple(size if isinstance(size, int) else None for size in tensor.shape)
    chosen = chosen_shape(path, tensor.name, there, options.shapes)
    for index, size in enumerate(chosen if tensor.name in options.shapes else tensor.shape):
        is_batch = index == 0 or (size is not None and size in batch_names)
        if not isinstance(size, int):
            if not is_batch:
                raise open_shape_error(path, tensor.name, there)
            size = batch or 1  # noqa: PLW2901
        elif size == 0:
            raise UserError(f"{where}: dimension {index} is 0: expected at least 1, there is nothing to measure")
        elif index == 0 and batch not in (None, size):
            raise UserError(f"{where}: its batch is fixed at {size}: expected --batch {size}, found --batch {batch}")
        shape.append(size)
    return InputTensor(name=tensor.name, element_type=tensor.type, shape=tuple(shape))


def reduce_events(events: list[dict[str, Any]], whole: NDArray[np.float64]) -> ProfiledRun:
    """Return the profile in a trace of ONNX Runtime's form.

    `whole` (runs,) is what the caller saw of the last runs, in seconds; earlier ones in the trace were warm-up.
    """
    runs: list[tuple[float, dict[_NodeKey, float]]] = []
    nodes: list[dict[str, Any]] = []
    for event in events:
        if event["cat"] == "Node" and event["name"].endswith("_kernel_time"):
            if event["args"]["op_name"] in _CONTROL_FLOW:
                # What ran inside is listed before it and is part of its time.
                nodes = [node for node in nodes if node["ts"] < event["ts"]]
            nodes.append(event)
        elif event["name"] == "model_run":
            runs.append((event["dur"] * _MICROSECOND, _node_seconds(nodes)))
            nodes = []
    kept = runs[len(runs) - len(whole) :]
    inside = np.asarray([seconds for seconds, _ in kept])
    in_nodes = np.asarray([sum(times.values()) for _, times in kept])
    times_of = {key: [times.get(key, 0.0) for _, times in kept] for key in dict.fromkeys(k for _, t in kept for k in t)}
    usual = tuple(_node_time(key, _usual(seconds)) for key, seconds in times_of.items())
    inside_usually = sum(node.seconds for node in usual) + _usual(inside - in_nodes)
    # The trace counts whole microseconds, so that a tiny model can seem longer inside than its caller saw.
    whole_usually = inside_usually + max(0.0, _usual(whole - inside))
    interrupted = max(0.0, float(np.mean(whole)) - whole_usually)
    return ProfiledRun(
        nodes=usual,
        inside=inside_usually,
        whole=whole_usually + interrupted,
        queries=len(whole),
        interrupted=interrupted,
        names=NODE_NAMES,
    )


def _usual(seconds: ArrayLike) -> float:
    """Return the mean of the middle half: finer than the trace's microseconds, which a median is not."""
    ordered = np.sort(np.asarray(seconds, dtype=np.float64))
    quarter = len(ordered) // 4
    return float(ordered[quarter : len(ordered) - quarter].mean())


def _node_seconds(events: list[dict[str, Any]]) -> dict[_NodeKey, float]:
    times: dict[_NodeKey, float] = {}
    for event in events:
        arguments = event["args"]
        key = (event["name"].removesuffix("_kernel_time"), arguments["op_name"], arguments["node_index"])
        times[key] = times.get(key, 0.0) + event["dur"] * _MICROSECOND
    return times


def _node_time(key: _NodeKey, seconds: float) -> NodeTime:
    name, op_type, index = key
    return NodeTime(name=name or f"{op_type}_{index}", op_type=op_type, seconds=seconds)


def _timed_runs(session: InferenceSession, binding: IOBinding, protocol: TimingProtocol) -> NDArray[np.float64]:
    run = session.run_with_iobinding
    end_of_warm_up = time.perf_counter() + protocol.warm_up
    while time.perf_counter() < end_of_warm_up:
        run(binding)
    whole: list[float] = []
    end = time.perf_counter() + protocol.duration
    while len(whole) < protocol.iterations or (time.perf_counter() < end and len(whole) < _MAX_PROFILED_QUERIES):
        before = time.perf_counter()
        run(binding)
        whole.append(time.perf_counter() - before)
    return np.asarray(whole)


def _require_model_file(path: Path) -> None:
    if path.is_dir():
        raise UserError(f"{path}: is a folder: expected an ONNX file")
    try:
        with path.open("rb") as stream:
            empty = not stream.read(1)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}: check the path") from error
    if empty:
        raise UserError(f"{path}: is empty: expected an ONNX model; export it again")


def _require_memory(inputs: tuple[InputTensor, ...], path: Path) -> None:
    import psutil

    needed = sum(math.prod(tensor.shape) * np.dtype(_ELEMENT_TYPES[tensor.element_type]).itemsize for tensor in inputs)
    available = psutil.virtual_memory().available
    # Making the random values takes several times their own size, and the model's activations come on top.
    if needed * _MEMORY_FACTOR > available:
        raise RequestError(
            f"{path}: inputs of {needed / 2**30:.1f} GiB leave no room in {available / 2**30:.1f} GiB of free memory: "
            "lower --batch"
        )


def _session_options(threads: int) -> SessionOptions:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = _SILENT  # What goes wrong comes back as an exception, which says it once.
    for key, value in _SETTINGS.items():
        options.add_session_config_entry(key, value)
    return options


def _load(path: Path, options: SessionOptions) -> InferenceSession:
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as errors

    from qedeploy.runtimes.onnxruntime.session import model_source

    try:
        return onnxruntime.InferenceSession(model_source(path), options, providers=[_PROVIDER])
    except errors.NotImplemented as error:
        raise RequestError(f"{path}: ONNX Runtime lacks what it needs: {_reason(error)}") from error
    except errors.InvalidProtobuf as error:
        found = found_instead(read_head(path), ContentKind.ONNX) or ": export or copy it again"
        raise UserError(f"{path}: not an ONNX model, or one cut short{found}") from error
    except Exception as error:
        reason = _reason(error)
        kind = RequestError if "not a registered function/op" in reason else UserError
        raise kind(f"{path}: ONNX Runtime refuses it: {reason}") from error


def _reason(error: Exception) -> str:
    """Return ONNX Runtime's words without the code in front of them and the stack behind."""
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return line.partition(" : ")[2].split(" : ", 2)[-1] or line if line.startswith("[ONNXRuntimeError]") else line


def _describe(
    inputs: tuple[InputTensor, ...], options: RunnerOptions, session_options: SessionOptions
) -> RunnerDescription:
    import onnxruntime

    return RunnerDescription(
        runtime="ONNX Runtime",
        version=onnxruntime.__version__,
        device=CPU,
        latency="the host's clock around one query, with inputs and outputs in bound buffers",
        inputs=inputs,
        batch=inputs[0].shape[0] if inputs[0].shape else 1,
        threads=options.threads,
        settings={
            "provider": _PROVIDER,
            "graph_optimization_level": session_options.graph_optimization_level.name,
            "execution_mode": session_options.execution_mode.name,
            "intra_op_num_threads": str(session_options.intra_op_num_threads),
            "inter_op_num_threads": str(session_options.inter_op_num_threads),
            "enable_cpu_mem_arena": str(session_options.enable_cpu_mem_arena).lower(),
            "enable_mem_pattern": str(session_options.enable_mem_pattern).lower(),
            **_SETTINGS,
        },
    )
