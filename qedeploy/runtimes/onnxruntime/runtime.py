"""ONNX Runtime as a Runtime: runs exported files as they are, and says what they compute."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qedeploy.profiles.capabilities import Capabilities
from qedeploy.profiles.profile import Lowering
from qedeploy.runtimes.base import Evaluator, Reference, Runtime
from qedeploy.runtimes.findings import Finding, Readiness, package_finding

if TYPE_CHECKING:
    from qedeploy.qdq.dialect import Dialect
    from qedeploy.runtimes.runner import Runner, RunnerOptions

_PACKAGE = "onnxruntime"


def _version() -> str:
    import onnxruntime

    return f"{_PACKAGE} {onnxruntime.__version__}"


def _evaluator(model: bytes, optimize: bool) -> Evaluator:
    from qedeploy.runtimes.onnxruntime.session import evaluator

    return evaluator(model, optimize=optimize)


def _simplify(model: bytes) -> bytes:
    from qedeploy.runtimes.onnxruntime.session import simplify

    return simplify(model)


_LABEL = "ONNX Runtime"


class OnnxRuntime(Runtime):
    """ONNX Runtime's CPU kernels."""

    name = "onnxruntime"
    label = _LABEL
    # It has a true uint8.
    capabilities = Capabilities(lowerings=(Lowering.INT8, Lowering.FLOAT32), unsigned_activation_bits=8)
    suffixes = (".onnx",)
    dialects = ("onnxruntime",)
    packages = (_PACKAGE,)
    on_cpu = True
    baselines = True
    reference = Reference(label=_LABEL, version=_version, evaluator=_evaluator, simplify=_simplify)

    def dialect(self, name: str) -> Dialect:
        """Return the one dialect."""
        from qedeploy.runtimes.onnxruntime.dialect import OnnxRuntimeDialect

        del name
        return OnnxRuntimeDialect()

    def open(self, path: Path, options: RunnerOptions) -> Runner:
        """Return the runner of an ONNX file."""
        from qedeploy.runtimes.onnxruntime.runner import OnnxRuntimeRunner

        return OnnxRuntimeRunner(path, options)

    def findings(self) -> tuple[Finding, ...]:
        """Return what is installed, with its execution providers."""
        found = package_finding(self.label, _PACKAGE, "qedeploy bench measures model.onnx with it")
        if found.status is Readiness.MISSING:
            return (found,)
        import onnxruntime

        providers = ", ".join(onnxruntime.get_available_providers())
        return (Finding(name=found.name, status=Readiness.READY, detail=f"{found.detail}; providers: {providers}"),)
