"""OpenVINO on the CPU as a Runner."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from qedeploy.errors import RequestError, UserError
from qedeploy.runtimes.inputs import OpenShape, random_values, require_inputs
from qedeploy.runtimes.openvino.executed import ExecutedNode, executed_nodes, layer_of, runtime_report
from qedeploy.runtimes.openvino.node_names import NODE_NAMES
from qedeploy.runtimes.openvino.ports import FilePorts, dtype_of, file_ports, open_batch, resolve_inputs
from qedeploy.runtimes.openvino.session import SETTINGS, compile_model, query, reason
from qedeploy.runtimes.runner import CPU, InputTensor, NodeTime, ProfiledRun, RunnerDescription, RunnerOptions
from qedeploy.runtimes.sections import RuntimeReport
from qedeploy.runtimes.timing import Samples, TimingProtocol, collect

if TYPE_CHECKING:
    from openvino import CompiledModel, InferRequest

_MAX_PROFILED_QUERIES = 500


class OpenVINORunner:
    """Measures an `.onnx` file with OpenVINO's CPU plugin, one stream, float32 where nothing is quantized."""

    def __init__(self, path: Path, options: RunnerOptions) -> None:
        self._path = path
        self._options = options
        self._compiled: CompiledModel | None = None
        self._request: InferRequest | None = None
        self._inputs: tuple[InputTensor, ...] = ()
        self._feeds: dict[str, NDArray[Any]] = {}
        self._nodes: tuple[ExecutedNode, ...] = ()
        self._ports = FilePorts(inputs=(), outputs=(), aliases={})

    def __enter__(self) -> Self:
        if not self._path.is_file():
            raise UserError(f"{self._path}: cannot be read: expected an ONNX file")
        self._compiled = self._compile()
        self._nodes = executed_nodes(self._compiled)
        generator = np.random.default_rng(self._options.seed)
        self._ports = file_ports(self._path)
        self._inputs = resolve_inputs(self._compiled, self._ports.inputs, self._path, self._options)
        self._feeds = {tensor.name: random_values(tensor.shape, dtype_of(tensor), generator) for tensor in self._inputs}
        self._request = self._fed(self._compiled)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._request = self._compiled = None

    @property
    def description(self) -> RunnerDescription:
        """Return what is measured and how."""
        from importlib.metadata import version

        if not self._inputs:
            raise RuntimeError("the runner has not been entered")
        return RunnerDescription(
            runtime="OpenVINO",
            version=version("openvino"),
            device=CPU,
            latency="the host's clock around one query, its inputs in place",
            inputs=self._inputs,
            batch=self._inputs[0].shape[0] if self._inputs[0].shape else 1,
            threads=self._options.threads,
            settings={**SETTINGS, "INFERENCE_NUM_THREADS": str(self._options.threads)},
        )

    def measure(self, protocol: TimingProtocol) -> Samples:
        """Return the latency of each query: the host's clock around one, inputs set before."""
        if self._request is None:
            raise RuntimeError("the runner has not been entered")
        return collect(self._request.infer, protocol)

    def profile(self, protocol: TimingProtocol) -> ProfiledRun:
        """Return per-node times of a model of its own, compiled with OpenVINO's counters on."""
        compiled = self._compile(profiled=True)
        request = self._fed(compiled)
        nodes = {node.name: node for node in executed_nodes(compiled)}
        end_of_warm_up = time.perf_counter() + protocol.warm_up
        while time.perf_counter() < end_of_warm_up:
            request.infer()
        times: dict[str, list[float]] = {}
        types: dict[str, str] = {}
        whole: list[float] = []
        end = time.perf_counter() + protocol.duration
        while len(whole) < protocol.iterations or (time.perf_counter() < end and len(whole) < _MAX_PROFILED_QUERIES):
            before = time.perf_counter()
            request.infer()
            whole.append(time.perf_counter() - before)
            for item in request.profiling_info:
                # What was folded or fused away has no time of its own.
                if item.status == item.Status.EXECUTED:
                    times.setdefault(item.node_name, []).append(item.real_time.total_seconds())
                    types[item.node_name] = item.node_type
        names = {name: layer_of(nodes[name], self._ports.aliases) if name in nodes else name for name in times}
        timed = tuple(
            NodeTime(name=names[name], op_type=types[name], seconds=_usual(seconds)) for name, seconds in times.items()
        )
        usual, mean = _usual(whole), float(np.mean(whole))
        inside = sum(node.seconds for node in timed)
        # The counters have whole microseconds, so that a tiny model can seem longer inside than its caller saw.
        outside = max(inside, usual)
        return ProfiledRun(
            nodes=timed,
            inside=inside,
            whole=max(outside, mean),
            queries=len(whole),
            interrupted=max(0.0, mean - outside),
            names=NODE_NAMES,
        )

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return the outputs of one query of the compiled model that is timed, batch any where it is open."""
        if self._compiled is None:
            raise RuntimeError("the runner has not been entered")
        opened = open_batch(self._compiled)
        shapes: dict[str, OpenShape] = {
            tensor.name: (None, *tensor.shape[1:]) if opened else tensor.shape for tensor in self._inputs
        }
        require_inputs(self._path, shapes, inputs)
        feeds = {tensor.name: np.asarray(inputs[tensor.name], dtype_of(tensor)) for tensor in self._inputs}
        try:
            answers = query(self._compiled, feeds)
        except RuntimeError as error:
            raise RequestError(f"{self._path}: OpenVINO cannot execute it: {reason(error)}") from error
        return dict(zip(self._ports.outputs, answers, strict=True))

    def report(self) -> RuntimeReport:
        """Return the precision that each layer is executed in."""
        return runtime_report(self._nodes, self._ports.aliases)

    def _compile(self, *, profiled: bool = False) -> CompiledModel:
        try:
            return compile_model(self._path, self._options.threads, profiled=profiled)
        except RuntimeError as error:
            raise UserError(f"{self._path}: OpenVINO does not read it: {reason(error)}") from error

    def _fed(self, compiled: CompiledModel) -> InferRequest:
        request = compiled.create_infer_request()
        try:
            request.infer(self._feeds)
        except RuntimeError as error:
            raise RequestError(f"{self._path}: OpenVINO cannot execute it: {reason(error)}") from error
        return request


def _usual(seconds: list[float]) -> float:
    """Return the mean of the middle half."""
    ordered = np.sort(np.asarray(seconds))
    quarter = len(ordered) // 4
    return float(ordered[quarter : len(ordered) - quarter].mean())
