"""The measured process: times queries and profiles layers of a plan. It alone touches TensorRT and the GPU.

Answers the requests of `runner.py`: `load`, `measure`, `profile`, `inspect` and `infer`. Only calls that TensorRT 10.16
and 11 share are made. Written from documentation and headers, without a GPU to run it on.
"""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from qedeploy.errors import RequestError
from qedeploy.runtimes.nvidia.child import Emit, serve
from qedeploy.runtimes.nvidia.loading import Loaded, load

_MAX_PROFILED_QUERIES = 500
_TRANSFER_QUERIES = 20


class Worker:
    """Keeps the loaded plan between requests."""

    def __init__(self) -> None:
        self._loaded: Loaded | None = None

    def handle(self, request: Mapping[str, Any], emit: Emit) -> Mapping[str, Any]:
        """Answer one request."""
        if request["command"] == "load":
            self._loaded, description = load(request, emit)
            return description
        if self._loaded is None:
            raise ValueError("asked to measure before a plan is loaded")
        match request["command"]:
            case "measure":
                return measure(self._loaded, request)
            case "profile":
                return profile(self._loaded, request)
            case "inspect":
                return {"document": inspect(self._loaded)}
            case "infer":
                return infer(self._loaded, request)
            case unknown:
                raise ValueError(f"no such command: {unknown}")


def measure(loaded: Loaded, request: Mapping[str, Any]) -> Mapping[str, Any]:
    """Run queries one at a time; returns for each its latency (host clock), GPU, enqueue and transfer times, in ms."""
    query = _query(loaded)
    rows: list[tuple[float, ...]] = []
    collecting = gc.isenabled()
    gc.disable()  # A collection inside a query would be counted as the model's time.
    try:
        end_of_warm_up = time.perf_counter() + request["warm_up"]
        while time.perf_counter() < end_of_warm_up:
            query()
        start = time.perf_counter()
        end = start + request["duration"]
        while time.perf_counter() < end or len(rows) < request["iterations"]:
            rows.append(query())
        elapsed = time.perf_counter() - start
    finally:
        if collecting:
            gc.enable()
    columns = [list(column) for column in zip(*rows, strict=True)]
    names = ("latency", "gpu", "enqueue", "upload", "download")
    return {**dict(zip(names, columns, strict=True)), "elapsed": elapsed, **_transfers(loaded)}


def profile(loaded: Loaded, request: Mapping[str, Any]) -> Mapping[str, Any]:
    """Run queries with TensorRT's profiler on a context of its own; returns per query the layers' times in ms.

    The profiler makes TensorRT time each layer, without a CUDA graph: times are slower, and no headline figures.
    """
    if loaded.profiled is None:
        loaded.profiled = _profiled_context(loaded)
    context, profiler = loaded.profiled
    cuda = loaded.cuda
    whole: list[tuple[float, float]] = []
    queries: list[Mapping[str, float]] = []
    start, end = cuda.event(), cuda.event()
    end_of_warm_up = time.perf_counter() + request["warm_up"]
    deadline = end_of_warm_up + request["duration"]
    while True:
        now = time.perf_counter()
        if len(queries) >= _MAX_PROFILED_QUERIES or (now >= deadline and len(queries) >= request["iterations"]):
            break
        profiler.take()
        before = time.perf_counter()
        cuda.record(start)
        _enqueued(context.execute_async_v3(cuda.stream), "a profiled query")
        cuda.record(end)
        cuda.synchronize()
        seconds = time.perf_counter() - before
        context.report_to_profiler()
        layers = profiler.take()
        if now >= end_of_warm_up:
            whole.append((seconds * 1e3, cuda.milliseconds(start, end)))
            queries.append(layers)
    return {"whole": [item[0] for item in whole], "inside": [item[1] for item in whole], "layers": queries}


def inspect(loaded: Loaded) -> Any:
    """Return the engine inspector's JSON, for the shapes that are measured."""
    inspector = loaded.engine.create_engine_inspector()
    inspector.execution_context = loaded.context
    return json.loads(inspector.get_engine_information(loaded.trt.LayerInformationFormat.JSON))


def infer(loaded: Loaded, request: Mapping[str, Any]) -> Mapping[str, Any]:
    """Run one query on `inputs`, .npy files by tensor name; returns the .npy files of the outputs.

    The inputs of timed queries are restored afterwards.
    """
    timed_with = {name: buffer.host.copy() for name, buffer in loaded.inputs.items()}
    for name, path in request["inputs"].items():
        values = np.load(path, allow_pickle=False).astype(_type_of(loaded, name))
        loaded.inputs[name].host[:] = np.frombuffer(values.tobytes(), np.uint8)
    loaded.upload()
    loaded.launch()
    loaded.download()
    loaded.cuda.synchronize()
    written = {}
    for index, (name, buffer) in enumerate(loaded.outputs.items()):
        values = np.frombuffer(buffer.host.tobytes(), _type_of(loaded, name)).reshape(loaded.shapes[name])
        written[name] = str(Path(request["folder"]) / f"output{index}.npy")
        np.save(written[name], values, allow_pickle=False)
    for name, values in timed_with.items():
        loaded.inputs[name].host[:] = values
    loaded.upload()
    loaded.cuda.synchronize()
    return written


def _type_of(loaded: Loaded, name: str) -> Any:
    return np.dtype(loaded.trt.nptype(loaded.engine.get_tensor_dtype(name)))


def _query(loaded: Loaded) -> Callable[[], tuple[float, ...]]:
    cuda, launch, clock = loaded.cuda, loaded.launch, time.perf_counter
    begin, start, end, done = (cuda.event() for _ in range(4))

    def without_transfers() -> tuple[float, ...]:
        before = clock()
        cuda.record(start)
        entered = clock()
        launch()
        left = clock()
        cuda.record(end)
        cuda.synchronize()
        after = clock()
        return (after - before) * 1e3, cuda.milliseconds(start, end), (left - entered) * 1e3, 0.0, 0.0

    def with_transfers() -> tuple[float, ...]:
        before = clock()
        cuda.record(begin)
        loaded.upload()
        cuda.record(start)
        entered = clock()
        launch()
        left = clock()
        cuda.record(end)
        loaded.download()
        cuda.record(done)
        cuda.synchronize()
        after = clock()
        copies = cuda.milliseconds(begin, start), cuda.milliseconds(end, done)
        return (after - before) * 1e3, cuda.milliseconds(start, end), (left - entered) * 1e3, *copies

    return with_transfers if loaded.transfers else without_transfers


def _transfers(loaded: Loaded) -> Mapping[str, Any]:
    """Return the median times of the copies alone, in ms: known even where the queries leave them out."""
    cuda = loaded.cuda
    begin, middle, end = (cuda.event() for _ in range(3))
    rows = []
    for _ in range(_TRANSFER_QUERIES):
        cuda.record(begin)
        loaded.upload()
        cuda.record(middle)
        loaded.download()
        cuda.record(end)
        cuda.synchronize()
        rows.append((cuda.milliseconds(begin, middle), cuda.milliseconds(middle, end)))
    upload, download = np.median(np.asarray(rows), axis=0)
    return {"upload_alone": float(upload), "download_alone": float(download)}


def _profiled_context(loaded: Loaded) -> tuple[Any, Any]:
    context = loaded.engine.create_execution_context()
    if context is None:
        raise RequestError("the GPU's memory does not suffice for a profiled pass: free the GPU")
    for name, shape in loaded.shapes.items():
        if name in loaded.inputs:
            context.set_input_shape(name, shape)
        context.set_tensor_address(name, {**loaded.inputs, **loaded.outputs}[name].address)
    profiler = _profiler(loaded.trt)
    context.profiler = profiler
    context.enqueue_emits_profile = False
    return context, profiler


def _profiler(trt: Any) -> Any:
    """Return a TensorRT profiler that collects a query's layer times until they are taken."""

    class Profiler(trt.IProfiler):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)
            self._times: dict[str, float] = {}

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            self._times[layer_name] = self._times.get(layer_name, 0.0) + ms

        def take(self) -> dict[str, float]:
            times, self._times = self._times, {}
            return times

    return Profiler()


def _enqueued(accepted: object, what: str) -> None:
    if not accepted:
        raise RequestError(f"the engine did not accept {what}")


if __name__ == "__main__":
    serve(Worker().handle)
