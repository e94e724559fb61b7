"""ONNX Runtime as a Runtime: runs exported files as they are, and says what they compute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from qedeploy.profiles.capabilities import Capabilities
from qedeploy.profiles.profile import Lowering
from qedeploy.runtimes.base import Evaluator, Reference, Runtime
from qedeploy.runtimes.findings import Finding, Readiness, package_finding
from qedeploy.runtimes.mixed import MixedExecution

if TYPE_CHECKING:
    from qedeploy.qdq.dialect import Dialect
    from qedeploy.runtimes.runner import Runner, RunnerOptions
    from qedeploy.runtimes.turns import AlternatedRun, Feed, TimedModel

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


def _precisions() -> tuple[str, ...]:
    from qedeploy.runtimes.onnxruntime.session import saturates

    # Kernels without VNNI add pairs of products in 16 bits: those of 8-bit weights do not fit, those of 7 bits do.
    return ("W7A8",) if saturates() else ("W8A8",)


def _nodes(model: bytes) -> Sequence[tuple[str, str]]:
    from qedeploy.runtimes.onnxruntime.alternation import optimised_nodes

    return optimised_nodes(model)


def _alternate(
    models: Mapping[str, bytes], feeds: Sequence[Feed], seconds: float, threads: int
) -> dict[str, AlternatedRun]:
    from qedeploy.runtimes.onnxruntime.alternation import run_alternately

    return run_alternately(models, feeds, seconds, threads)


def _timed(model: bytes, feed: Feed, threads: int) -> TimedModel:
    from qedeploy.runtimes.onnxruntime.alternation import TimedSession

    return TimedSession(model, feed, threads)


_LABEL = "ONNX Runtime"
_INTEGER_KERNELS = frozenset({"QLinearConv", "QGemm", "QLinearMatMul", "MatMulIntegerToFloat"})


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
    mixed = MixedExecution(
        label=_LABEL,
        precisions=_precisions,
        kernels=_INTEGER_KERNELS,
        nodes=_nodes,
        alternate=_alternate,
        timed=_timed,
    )

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
