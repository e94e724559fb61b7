"""LiteRT's interpreter on this CPU as a Runner."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from qedeploy.contents import ContentKind, found_instead
from qedeploy.errors import RequestError, UserError
from qedeploy.files import read_bytes
from qedeploy.runtimes.inputs import random_values, require_inputs
from qedeploy.runtimes.litert.interpreter import load
from qedeploy.runtimes.litert.node_names import NODE_NAMES
from qedeploy.runtimes.litert.ports import Port, ports
from qedeploy.runtimes.litert.record import LiteRTRecord, read_record
from qedeploy.runtimes.litert.report import runtime_report
from qedeploy.runtimes.runner import CPU, NodeTime, ProfiledRun, RunnerDescription, RunnerOptions
from qedeploy.runtimes.sections import RuntimeReport
from qedeploy.runtimes.timing import Samples, TimingProtocol, collect, summarize

if TYPE_CHECKING:
    from ai_edge_litert.interpreter import Interpreter


class LiteRTRunner:
    """Measures a `.tflite` file on the CPU with LiteRT's fast kernels.

    A file of ours is fed as its ONNX file is, `image` in float32 with channels first, and answers with `logits` in
    float32; what rounds to its integers and back is not part of a query that is timed. Any other file is fed as it is.
    """

    def __init__(self, path: Path, options: RunnerOptions) -> None:
        self._path = path
        self._options = options
        self._interpreter: Interpreter | None = None
        self._record: LiteRTRecord | None = None
        self._inputs: tuple[Port, ...] = ()
        self._outputs: tuple[Port, ...] = ()

    def __enter__(self) -> Self:
        content = read_bytes(self._path)
        if not content:
            raise UserError(f"{self._path}: is empty: expected a .tflite file; export it again")
        self._record = read_record(self._path)
        try:
            self._interpreter = load(content, threads=self._options.threads)
        except (ValueError, RuntimeError) as error:
            found = found_instead(content, ContentKind.LITERT) or f": {_reason(error)}"
            raise UserError(f"{self._path}: not a model that LiteRT reads{found}") from error
        ours = self._record is not None
        self._inputs = ports(self._interpreter.get_input_details(), self._path, ours=ours)
        self._outputs = ports(self._interpreter.get_output_details(), self._path, ours=ours, output=True)
        self._require_sizes()
        generator = np.random.default_rng(self._options.seed)
        for port in self._inputs:
            self._interpreter.set_tensor(port.index, port.store(random_values(port.shape, port.dtype, generator)))
        self._invoke()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._interpreter = None

    @property
    def description(self) -> RunnerDescription:
        """Return what is measured and how."""
        from importlib.metadata import version

        if not self._inputs:
            raise RuntimeError("the runner has not been entered")
        return RunnerDescription(
            runtime="LiteRT",
            version=version("ai-edge-litert"),
            device=CPU,
            latency="the host's clock around one invocation, its inputs set before",
            inputs=tuple(port.tensor for port in self._inputs),
            batch=self._inputs[0].shape[0] if self._inputs[0].shape else 1,
            threads=self._options.threads,
            settings={"kernels": "the interpreter's own choice (XNNPACK where it can)"},
        )

    def measure(self, protocol: TimingProtocol) -> Samples:
        """Return the latency of each query: the host's clock around one invocation."""
        return collect(self._loaded().invoke, protocol)

    def profile(self, protocol: TimingProtocol) -> ProfiledRun:
        """Return the whole network as one node: LiteRT's Python interface has no times of operators."""
        samples = self.measure(protocol)
        summary = summarize(samples)
        graph = None if self._record is None or self._record.metadata is None else self._record.metadata.graph
        layers = () if graph is None else tuple(layer.name for layer in graph.layers)
        node = NodeTime(name=self._path.name, op_type="LiteRT", seconds=summary.median, layers=layers)
        return ProfiledRun(
            nodes=(node,),
            inside=summary.median,
            whole=max(summary.mean, summary.median),
            queries=summary.queries,
            interrupted=max(0.0, summary.mean - summary.median),
            names=NODE_NAMES,
            statistic="median of the whole network",
        )

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return the outputs of one query, of the batch that the file has."""
        interpreter = self._loaded()
        require_inputs(self._path, {port.name: port.shape for port in self._inputs}, inputs)
        kept = [(port.index, interpreter.get_tensor(port.index)) for port in self._inputs]
        for port in self._inputs:
            interpreter.set_tensor(port.index, port.store(np.asarray(inputs[port.name], port.dtype)))
        self._invoke()
        found = {port.name: port.load(interpreter.get_tensor(port.index)) for port in self._outputs}
        for index, values in kept:
            interpreter.set_tensor(index, values)
        return found

    def report(self) -> RuntimeReport:
        """Return the file's memory, and that the time is this machine's."""
        return RuntimeReport() if self._record is None else runtime_report(self._record)

    def _loaded(self) -> Interpreter:
        if self._interpreter is None:
            raise RuntimeError("the runner has not been entered")
        return self._interpreter

    def _invoke(self) -> None:
        try:
            self._loaded().invoke()
        except (ValueError, RuntimeError) as error:
            raise RequestError(f"{self._path}: LiteRT cannot execute it: {_reason(error)}") from error

    def _require_sizes(self) -> None:
        if self._options.shapes:
            raise UserError(f"{self._path}: --shape: a .tflite file has the sizes that it was written with")
        batch = self._inputs[0].shape[0] if self._inputs and self._inputs[0].shape else 1
        if self._options.batch not in (None, batch):
            raise UserError(
                f"{self._path}: its batch is fixed at {batch}: expected --batch {batch}, found --batch "
                f"{self._options.batch}; export it with another"
            )


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())
