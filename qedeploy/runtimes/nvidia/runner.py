"""A TensorRT plan as a Runner: refused in one line where it cannot run here, measured in a child process."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from qedeploy.errors import MissingRuntimeError, UserError
from qedeploy.qdq.metadata import ModelMetadata
from qedeploy.runtimes.inputs import require_inputs
from qedeploy.runtimes.nvidia.child import Child, ChildCrashedError
from qedeploy.runtimes.nvidia.inspector import EngineDescription, read_description
from qedeploy.runtimes.nvidia.join import EngineRow, Network, join, node_times
from qedeploy.runtimes.nvidia.machine import Gpu, TensorrtMachine, probe
from qedeploy.runtimes.nvidia.node_names import NODE_NAMES
from qedeploy.runtimes.nvidia.nvml import GpuConditions, GpuSampler
from qedeploy.runtimes.nvidia.product import TENSORRT, Product
from qedeploy.runtimes.nvidia.record import EngineRecord, read_record, record_path, require_same_machine
from qedeploy.runtimes.nvidia.report import EngineReport, assemble, runtime_report
from qedeploy.runtimes.nvidia.settings import QuerySettings
from qedeploy.runtimes.nvidia.times import EngineTimes, summarize
from qedeploy.runtimes.runner import InputTensor, ProfiledRun, RunnerDescription, RunnerOptions
from qedeploy.runtimes.sections import RuntimeReport
from qedeploy.runtimes.timing import Samples, TimingProtocol

_WORKER = "qedeploy.runtimes.nvidia.worker"

LATENCY = (
    "the host's clock around one query, from the launch (and the copies in, where they are measured) to its end; one "
    "query in flight, so that it includes the launch that trtexec, with two in flight, hides"
)


class TensorRTRunner:
    """Measures a `.plan` on this machine's first GPU."""

    def __init__(
        self,
        path: Path,
        options: RunnerOptions,
        *,
        look: Callable[[], TensorrtMachine] = probe,
        product: Product = TENSORRT,
    ) -> None:
        self._path = path
        self._product = product
        if options.shapes:
            raise UserError(f"{path}: --shape: an engine has the sizes that it was built with; leave the option out")
        self._options = options
        self._engine = QuerySettings.of(options.settings)
        self._look = look
        self._child: Child | None = None
        self._gpu: Gpu | None = None
        self._loaded: Mapping[str, Any] = {}
        self._times: list[EngineTimes] = []
        self._conditions: GpuConditions | None = None
        self._rows: tuple[EngineRow, ...] = ()
        self._notes: list[str] = []
        self.record: EngineRecord | None = None

    def __enter__(self) -> Self:
        _require_plan_file(self._path, self._product.label)
        self.record = read_record(self._path)
        version, self._gpu = self._machine()
        if self.record is not None:
            require_same_machine(self.record, self._path, version, self._gpu, self._product.label)
        else:
            self._notes.append(
                f"{record_path(self._path).name} is not beside the plan: its layers, bit widths and BitOps cannot be "
                "joined to the times; qedeploy export writes it"
            )
        self._child = Child(_WORKER, subject=str(self._path), label=self._product.label).__enter__()
        try:
            self._loaded = self._ask("load", doing="loading the plan", **self._load_request())
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._child is not None:
            self._child.__exit__(kind, error, traceback)
            self._child = None

    @property
    def metadata(self) -> ModelMetadata | None:
        """Return Structure and plan as engine.json has them, None without it."""
        return self.record.metadata if self.record is not None else None

    @property
    def description(self) -> RunnerDescription:
        """Return what is measured and how."""
        inputs = tuple(
            InputTensor(name=item["name"], element_type=item["element_type"], shape=tuple(item["shape"]))
            for item in self._loaded["inputs"]
        )
        return RunnerDescription(
            runtime=self._product.label,
            version=self._loaded["tensorrt"],
            device=str(self._gpu),
            latency=LATENCY,
            inputs=inputs,
            batch=inputs[0].shape[0] if inputs and inputs[0].shape else 1,
            threads=1,
            settings={
                "cuda_graph": self._loaded["cuda_graph"],
                "wait": "spin" if self._engine.spin_wait else "blocking",
                "transfers": "measured" if self._engine.transfers else "left out",
                "cuda": self._loaded["cuda"],
                "device_memory_bytes": str(self._loaded["device_memory_bytes"]),
                **({"runtime_cache": cached} if (cached := self._loaded.get("runtime_cache")) else {}),
            },
        )

    def measure(self, protocol: TimingProtocol) -> Samples:
        """Run queries under `protocol`; the first call's GPU times and clocks are those of the report."""
        with GpuSampler(self._loaded["bus_id"]) as sampler:
            found = self._ask("measure", doing="measuring", **_protocol(protocol))
        times = EngineTimes.of_milliseconds(
            found,
            elapsed=found["elapsed"],
            upload_alone=found["upload_alone"],
            download_alone=found["download_alone"],
        )
        if not self._times:
            self._conditions = sampler.conditions()
            if sampler.problem:
                self._notes.append(f"{sampler.problem[0].upper()}{sampler.problem[1:]}.")
        self._times.append(times)
        return Samples(latency=times.latency, elapsed=times.elapsed)

    def profile(self, protocol: TimingProtocol) -> ProfiledRun:
        """Run queries with TensorRT's profiler on, and join its layers to ours."""
        found = self._ask("profile", doing="profiling", **_protocol(protocol))
        description = self._inspect()
        profile, self._rows = profile_of(found, description, self.metadata)
        return profile

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return the outputs of one query, of the batch that the engine was opened for."""
        require_inputs(self._path, {item.name: item.shape for item in self.description.inputs}, inputs)
        with tempfile.TemporaryDirectory(prefix="qedeploy-query-") as folder:
            # Tensors may have names that no file can have.
            files = {name: str(Path(folder) / f"input{index}.npy") for index, name in enumerate(inputs)}
            for name, file in files.items():
                np.save(file, inputs[name], allow_pickle=False)
            written = self._ask("infer", doing="running one query", inputs=files, folder=folder)
            return {name: np.load(file, allow_pickle=False) for name, file in written.items()}

    def report(self) -> RuntimeReport:
        """Return what the engine has to tell; after `measure` and `profile`."""
        return runtime_report(self._engine_report(), self.description.settings)

    def _engine_report(self) -> EngineReport:
        return assemble(
            times=summarize(self._times[0]),
            rows=self._rows,
            metadata=self.metadata,
            dropped=self.record.dropped if self.record is not None else (),
            conditions=self._conditions,
            notes=self._notes,
        )

    def _machine(self) -> tuple[str, Gpu]:
        try:
            return self._look().require()
        except MissingRuntimeError as error:
            raise MissingRuntimeError(f"{self._path}: cannot be measured here: {error}") from error

    def _inspect(self) -> EngineDescription | None:
        try:
            document = self._ask("inspect", doing="inspecting the engine")["document"]
            description = read_description(document, self._path)
        except ChildCrashedError:
            raise
        except UserError as error:
            self._notes.append(f"The engine's layers could not be read: {error}.")
            return None
        if not description.detailed:
            self._notes.append("The plan was built without detailed profiling verbosity: types of layers are unknown.")
        return description

    def _ask(self, command: str, *, doing: str, **request: Any) -> Mapping[str, Any]:
        if self._child is None:
            raise ValueError("the runner is asked before it is entered")
        return self._child.ask({"command": command, **request}, doing=doing)

    def _load_request(self) -> dict[str, Any]:
        return {
            "plan": str(self._path),
            "batch": self._options.batch,
            "seed": self._options.seed,
            "cuda_graph": self._engine.cuda_graph,
            "spin_wait": self._engine.spin_wait,
            "transfers": self._engine.transfers,
            "product": self._product.to_document(),
        }


def profile_of(
    found: Mapping[str, Any], description: EngineDescription | None, metadata: ModelMetadata | None
) -> tuple[ProfiledRun, tuple[EngineRow, ...]]:
    """Return a profiled pass as the bench reads it and as rows: means over the half of the queries around the median.

    `found` has per query: `whole` and `inside` in ms, and `layers`, the times in ms by the engine's names.
    """
    whole = np.asarray(found["whole"])
    quarter = len(whole) // 4
    kept = np.argsort(whole, kind="stable")[quarter : len(whole) - quarter]
    names = dict.fromkeys(name for layers in found["layers"] for name in layers)
    seconds = {name: float(np.mean([found["layers"][index].get(name, 0.0) for index in kept])) * 1e-3 for name in names}
    rows = join(description, seconds, network_of(metadata))
    nodes = node_times(rows)
    inside, usual = (float(np.mean(np.asarray(found[name])[kept])) * 1e-3 for name in ("inside", "whole"))
    # Events around a query and the profiler around its layers are two clocks: no part may come out negative.
    inside = max(inside, sum(node.seconds for node in nodes))
    usual = max(usual, inside)
    mean = max(float(np.mean(whole)) * 1e-3, usual)
    profile = ProfiledRun(
        nodes=nodes, inside=inside, whole=mean, queries=len(kept), interrupted=mean - usual, names=NODE_NAMES
    )
    return profile, rows


def network_of(metadata: ModelMetadata | None) -> Network:
    """Return what names in an engine can be joined to, nothing where the network is not known."""
    if metadata is None:
        return Network()
    return Network(
        steps=tuple(step.name for step in metadata.graph.operations),
        layers=tuple(layer.name for layer in metadata.graph.layers),
    )


def _protocol(protocol: TimingProtocol) -> dict[str, Any]:
    return {"warm_up": protocol.warm_up, "duration": protocol.duration, "iterations": protocol.iterations}


def _require_plan_file(path: Path, label: str) -> None:
    if path.is_dir():
        raise UserError(f"{path}: is a folder: expected a {label} plan")
    try:
        size = path.stat().st_size
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}: check the path") from error
    if not size:
        raise UserError(f"{path}: is empty: expected a {label} plan; build it again with qedeploy export")
