"""One file per runtime: how it wants its QDQ graph."""

from __future__ import annotations

from qedeploy.errors import RequestError
from qedeploy.profiles.profile import Runtime
from qedeploy.qdq.dialect import Dialect
from qedeploy.runtimes.onnxruntime.dialect import OnnxRuntimeDialect
from qedeploy.runtimes.tensorrt.dialect import TensorRTDialect

DIALECTS: dict[Runtime, Dialect] = {Runtime.ONNXRUNTIME: OnnxRuntimeDialect(), Runtime.TENSORRT: TensorRTDialect()}


def dialect_for(runtime: Runtime) -> Dialect:
    """Return the dialect of `runtime`; raises RequestError where qedeploy writes no graphs for it."""
    if runtime not in DIALECTS:
        known = ", ".join(DIALECTS)
        raise RequestError(f"runtime {runtime}: qedeploy writes no graph for it; runtimes it writes for: {known}")
    return DIALECTS[runtime]
