"""Opening an ONNX file in OpenVINO's CPU plugin, with settings that leave the numbers as the file says them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from openvino import CompiledModel

DEVICE = "CPU"

SETTINGS = {
    # bfloat16 and float16 would be taken for what is not quantized on CPUs that have them.
    "INFERENCE_PRECISION_HINT": "f32",
    "PERFORMANCE_HINT": "LATENCY",
    "NUM_STREAMS": "1",
}


def compile_model(source: Path | bytes, threads: int, *, profiled: bool = False) -> CompiledModel:
    """Return what the CPU runs of an ONNX file or its content, with counters of its nodes' times where `profiled`.

    Raises RuntimeError as OpenVINO does.
    """
    import openvino

    core = openvino.Core()
    model = core.read_model(source if isinstance(source, bytes) else str(source))
    settings: dict[str, Any] = {**SETTINGS, "INFERENCE_NUM_THREADS": threads}
    return core.compile_model(model, DEVICE, {**settings, "PERF_COUNT": True} if profiled else settings)


def query(compiled: CompiledModel, inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
    """Return copies of the outputs of one query, in their order."""
    found = compiled(dict(inputs))
    return [np.array(found[port]) for port in compiled.outputs]


def reason(error: Exception) -> str:
    """Return the last line of OpenVINO's words, behind the places in its source that they went through."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
