"""An engine from an ONNX file: builds in a child process, retries without what the GPU has no kernel for, records."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qedeploy.errors import RequestError
from qedeploy.files import read_bytes, replacing, sha256
from qedeploy.profiles.profile import Lowering
from qedeploy.publishing import together
from qedeploy.qdq.metadata import ModelMetadata
from qedeploy.runtimes.nvidia.builder import BuildRequest
from qedeploy.runtimes.nvidia.child import ChildCrashedError, Emit, run_child, serve
from qedeploy.runtimes.nvidia.machine import Gpu, load_tensorrt
from qedeploy.runtimes.nvidia.messages import Messages, layers_of, logger
from qedeploy.runtimes.nvidia.product import TENSORRT, Product
from qedeploy.runtimes.nvidia.record import EngineRecord, write_record
from qedeploy.runtimes.nvidia.settings import EngineSettings
from qedeploy.runtimes.nvidia.timing_cache import cache_path

_BUILDER = "qedeploy.runtimes.nvidia.builder"

Revise = Callable[[tuple[str, ...]], ModelMetadata]
"""Writes the ONNX file again with these layers in float16; returns its new metadata."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltEngine:
    """A written plan: its size in bytes and what its build took in seconds, without attempts that failed."""

    plan: Path
    record: EngineRecord
    plan_bytes: int
    seconds: float


def build_engine(
    onnx: Path,
    plan: Path,
    *,
    version: str,
    gpu: Gpu | None,
    metadata: ModelMetadata | None,
    revise: Revise | None = None,
    settings: EngineSettings = EngineSettings(),
    on_event: Emit = lambda _event: None,
    product: Product = TENSORRT,
    target: str | None = None,
) -> BuiltEngine:
    """Build `plan` from `onnx` with `product` of `version` for `gpu` and write engine.json beside it.

    `on_event` receives phases, warnings and notices (see progress.py). `gpu` None builds where the builder needs none,
    for the compute capability `target`.
    Raises RequestError with TensorRT's reason, ChildCrashedError where its builder crashes.
    """
    cache = cache_path(gpu.name, version) if settings.timing_cache and gpu is not None else None
    with ExitStack() as stack:
        temporary = stack.enter_context(replacing(plan))
        request = BuildRequest(
            onnx=onnx, plan=temporary, cache=cache, settings=settings, product=product, target=target
        )
        attempt = _build(request, metadata, revise, on_event)
        known = attempt.metadata
        record = EngineRecord(
            tensorrt=attempt.result["tensorrt"],
            gpu=gpu,
            plan_sha256=sha256(temporary),
            onnx=onnx.name,
            onnx_sha256=sha256(onnx),
            settings=settings,
            profile=known.profile if known else "",
            structure=known.structure if known else None,
            graph=known.graph if known and known.structure is None else None,
            lowering=known.plan if known else None,
            dropped=attempt.dropped,
            engine_layers=_engine_layers(temporary, product, on_event) if gpu is not None else None,
            target=target,
        )
        # Not around the build, which may write the ONNX file once more and read it.
        with together(plan.parent):
            stack.close()
            write_record(record, plan)
    return BuiltEngine(plan=plan, record=record, plan_bytes=attempt.result["bytes"], seconds=attempt.result["seconds"])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    """The attempt that built a plan: the builder's answer, and what had to be dropped on the way."""

    result: Mapping[str, Any]
    metadata: ModelMetadata | None
    dropped: tuple[str, ...]


def _build(request: BuildRequest, metadata: ModelMetadata | None, revise: Revise | None, on_event: Emit) -> _Attempt:
    """Build until every layer has a kernel; each attempt drops at least one layer's Q/DQ, so it comes to an end."""
    dropped: tuple[str, ...] = ()
    while True:
        result = run_child(
            _BUILDER,
            request.to_document(),
            subject=str(request.onnx),
            doing="building the engine",
            label=request.product.label,
            on_event=on_event,
        )
        if "no_kernel" not in result:
            return _Attempt(result=result, metadata=metadata, dropped=dropped)
        layers = _droppable(result, metadata, revise is not None, request.onnx)
        on_event({"event": "notice", "text": f"no INT8 kernel for {', '.join(layers)}: building in float16 there"})
        if revise is not None:
            metadata = revise(layers)
        dropped += layers


def _droppable(
    result: Mapping[str, Any], metadata: ModelMetadata | None, revisable: bool, onnx: Path
) -> tuple[str, ...]:
    quantized = [layer.name for layer in metadata.plan.layers if layer.lowering in _QUANTIZED] if metadata else []
    layers = layers_of(result["no_kernel"], quantized)
    if not layers or not revisable:
        raise RequestError(
            f"{onnx}: this GPU has no kernel for {result['no_kernel']}, and no quantized layer is left to blame: "
            f"{result['reason']}"
        )
    return layers


_QUANTIZED = {Lowering.INT8, Lowering.INT4_WEIGHT_ONLY}


def _engine_layers(plan: Path, product: Product, on_event: Emit) -> Mapping[str, Any] | None:
    request = {"plan": str(plan), "product": product.to_document()}
    try:
        found = run_child(__name__, request, subject=str(plan), doing="inspecting the engine", label=product.label)
    except (RequestError, ChildCrashedError) as error:
        on_event({"event": "notice", "text": f"the engine's layers are not recorded: {error}"})
        return None
    document: Mapping[str, Any] | None = found["document"]
    return document


def _inspect(request: Mapping[str, Any], emit: Emit) -> Mapping[str, Any]:
    trt = load_tensorrt(Product.from_document(request["product"]))
    messages = Messages(emit)
    runtime = trt.Runtime(logger(trt, messages))
    engine = runtime.deserialize_cuda_engine(read_bytes(Path(request["plan"])))
    if engine is None:
        raise RequestError(messages.reason())
    text = engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
    return {"document": json.loads(text)}


if __name__ == "__main__":
    serve(_inspect)
