"""Building a plan from an ONNX file: runs in the child process, one code path for TensorRT 10.16 and 11.

Strongly typed: precision is what the graph says. The only calls made are those that both versions have.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from qedeploy.errors import RequestError
from qedeploy.files import read_bytes, write_bytes
from qedeploy.qdq.graph_builder import owner
from qedeploy.runtimes.nvidia import timing_cache
from qedeploy.runtimes.nvidia.child import Emit, serve
from qedeploy.runtimes.nvidia.machine import load_tensorrt
from qedeploy.runtimes.nvidia.messages import Messages, logger, node_without_kernel, one_line, speaks_of_memory
from qedeploy.runtimes.nvidia.product import TENSORRT, Product
from qedeploy.runtimes.nvidia.progress import monitor
from qedeploy.runtimes.nvidia.settings import BatchRange, EngineSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """What the child builds: `onnx` to `plan`, with timings in `cache` (None: a cache of its own that is not kept).

    `target` is the compute capability to build for, such as "8.9", where the product builds ahead of time.
    """

    onnx: Path
    plan: Path
    cache: Path | None
    settings: EngineSettings
    product: Product = TENSORRT
    target: str | None = None

    def to_document(self) -> dict[str, Any]:
        """Return the request as JSON-ready data."""
        return {
            "onnx": str(self.onnx),
            "plan": str(self.plan),
            "cache": str(self.cache) if self.cache else None,
            "settings": asdict(self.settings),
            "product": self.product.to_document(),
            "target": self.target,
        }

    @classmethod
    def from_document(cls, data: Mapping[str, Any]) -> BuildRequest:
        """Return the request of `to_document`."""
        settings = dict(data["settings"])
        batch = BatchRange(**settings.pop("batch"))
        cache = Path(data["cache"]) if data["cache"] else None
        return cls(
            onnx=Path(data["onnx"]),
            plan=Path(data["plan"]),
            cache=cache,
            settings=EngineSettings(batch=batch, **settings),
            product=Product.from_document(data["product"]),
            target=data["target"],
        )


def build(request: BuildRequest, emit: Emit) -> Mapping[str, Any]:
    """Build and write the plan; returns its size and time, or under `no_kernel` the node that has no implementation.

    Raises RequestError with TensorRT's reason where parsing or building fails otherwise.
    """
    trt = load_tensorrt(request.product)
    messages = Messages(emit)
    log = logger(trt, messages)
    label = request.product.label
    builder = _create_builder(trt, log, messages, label)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    _parse(trt, trt.OnnxParser(network, log), request.onnx, messages, label)
    config = builder.create_builder_config()
    progress = _configure(trt, builder, network, config, request.settings, emit)
    if request.target is not None:
        _aim(trt, config, request.target)
    if request.cache:
        _notice(emit, timing_cache.attach(config, request.cache))
    started = time.perf_counter()
    plan = builder.build_serialized_network(network, config)
    seconds = time.perf_counter() - started
    del progress
    if plan is None:
        return {"no_kernel": _node_without_kernel(request.onnx, messages, label), "reason": messages.reason()}
    write_bytes(request.plan, bytes(memoryview(plan)))
    if request.cache:
        _notice(emit, timing_cache.save(config, request.cache))
    return {"bytes": plan.nbytes, "seconds": seconds, "tensorrt": trt.__version__, "warnings": messages.warnings}


def _create_builder(trt: Any, log: Any, messages: Messages, label: str) -> Any:
    try:
        return trt.Builder(log)
    except (TypeError, RuntimeError) as error:
        # The bindings say only that a factory returned null; the logger has the reason.
        raise RequestError(f"the builder of {label} does not start: {messages.reason()}") from error


def _parse(trt: Any, parser: Any, path: Path, messages: Messages, label: str) -> None:
    if parser.parse(read_bytes(path), str(path)):
        return
    found = [_describe(parser.get_error(index), label) for index in range(parser.num_errors)]
    reason = "; ".join(dict.fromkeys(found)) or messages.reason()
    raise RequestError(f"{path}: {label} {trt.__version__} cannot read this graph: {reason}")


def _describe(error: Any, label: str) -> str:
    code = str(error.code()).rpartition(".")[2]
    said, name = one_line(error.desc()), error.node_name()
    if not name:
        return f"{said} ({code})"
    said = said.removeprefix(f"Invalid Node - {name}").strip()
    if code.startswith("UNSUPPORTED_NODE") and said in {"", "false"}:
        said = f"{label} has no such operation"
    return f"layer {owner(name)}, node {name} ({error.node_operator()}): {said} ({code})"


def _configure(trt: Any, builder: Any, network: Any, config: Any, settings: EngineSettings, emit: Emit) -> Any:
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    config.builder_optimization_level = settings.optimization_level
    if settings.workspace_bytes is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace_bytes)
    # The configuration holds no reference of its own that keeps the monitor alive.
    progress = monitor(trt, emit)
    config.progress_monitor = progress
    _add_batches(builder, network, config, settings.batch)
    return progress


def _aim(trt: Any, config: Any, target: str) -> None:
    """Build for one compute capability, which no GPU of it has to be here for."""
    config.num_compute_capabilities = 1
    capability = getattr(trt.ComputeCapability, f"SM{target.replace('.', '')}")
    if not config.set_compute_capability(capability, 0):
        raise RequestError(f"the builder refuses compute capability {target} as its target")


def _add_batches(builder: Any, network: Any, config: Any, batch: BatchRange) -> None:
    profile = builder.create_optimization_profile()
    dynamic = False
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        shape = tuple(tensor.shape)
        if -1 not in shape:
            continue
        dynamic = True
        sizes = ((size, *shape[1:]) for size in (batch.minimum, batch.optimum, batch.maximum))
        profile.set_shape(tensor.name, *sizes)
    if dynamic and config.add_optimization_profile(profile) < 0:
        raise RequestError(f"the builder refuses batch {batch} for this graph: choose another --batch")


def _node_without_kernel(path: Path, messages: Messages, label: str) -> str:
    # TensorRT reports a kernel that found no memory as one that does not exist, so memory is checked first.
    if speaks_of_memory([*messages.errors, *messages.warnings]):
        raise RequestError(
            f"{path}: the GPU's memory or the workspace is too small to build it: {messages.reason()}; "
            "choose a smaller --batch, allow more --workspace, or free the GPU"
        )
    node = node_without_kernel(messages.errors)
    if node is not None:
        return node
    raise RequestError(f"{path}: {label} cannot build this graph: {messages.reason()}")


def _notice(emit: Emit, text: str) -> None:
    if text:
        emit({"event": "notice", "text": text})


if __name__ == "__main__":
    serve(lambda request, emit: build(BuildRequest.from_document(request), emit))
