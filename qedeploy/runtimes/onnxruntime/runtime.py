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
    from qedeploy.profiles.profile import Profile
    from qedeploy.qdq.dialect import Dialect
    from qedeploy.runtimes.products import Products
    from qedeploy.runtimes.runner import Runner, RunnerOptions
    from qedeploy.runtimes.turns import AlternatedRun, Feed, TimedModel, TimedRun

_PACKAGE = "onnxruntime"


def _version() -> str:
    import onnxruntime

    return f"{_PACKAGE} {onnxruntime.__version__}"


def _evaluator(model: bytes, optimize: bool) -> Evaluator:
    from qedeploy.runtimes.onnxruntime.session import evaluator

    return evaluator(model, optimize=optimize, exact=False)


def _exact(model: bytes, optimize: bool) -> Evaluator:
    from qedeploy.runtimes.onnxruntime.session import evaluator

    return evaluator(model, optimize=optimize, exact=True)


def _simplify(model: bytes) -> bytes:
    from qedeploy.runtimes.onnxruntime.session import simplify

    return simplify(model)


def _precisions() -> tuple[str, ...]:
    from qedeploy.runtimes.processor import this_processor
    from qedeploy.runtimes.saturation import saturates

    return ("W7A8",) if saturates(this_processor()) else ("W8A8",)


def _nodes(model: bytes) -> Sequence[tuple[str, str]]:
    from qedeploy.runtimes.onnxruntime.alternation import optimised_nodes

    return optimised_nodes(model)


def _alternate(
    models: Mapping[str, bytes], feeds: Sequence[Feed], seconds: float, threads: int
) -> dict[str, AlternatedRun]:
    from qedeploy.runtimes.onnxruntime.alternation import run_alternately

    return run_alternately(models, feeds, seconds, threads)


def _compare(models: Mapping[str, bytes], feeds: Sequence[Feed], seconds: float, threads: int) -> dict[str, TimedRun]:
    from qedeploy.runtimes.onnxruntime.alternation import run_timed

    return run_timed(models, feeds, seconds, threads)


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
    reference = Reference(label=_LABEL, version=_version, evaluator=_evaluator, exact=_exact, simplify=_simplify)
    mixed = MixedExecution(
        label=_LABEL,
        precisions=_precisions,
        kernels=_INTEGER_KERNELS,
        nodes=_nodes,
        alternate=_alternate,
        compare=_compare,
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

    def products(self, model: bytes, profile: str | None) -> Products | None:
        """Return how exactly this processor's kernels multiply the integers of an ONNX file."""
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
        from onnx import ModelProto

        from qedeploy.runtimes.processor import this_processor
        from qedeploy.runtimes.saturation import products_of

        try:
            return products_of(ModelProto.FromString(model), profile, self.name, this_processor())
        except DecodeError:
            return None

    def suited_profile(self) -> str | None:
        """Return the profile with the widest weights that this processor multiplies exactly."""
        from qedeploy.runtimes.processor import this_processor
        from qedeploy.runtimes.saturation import suited_profile

        return suited_profile(self.name, this_processor())

    def mismatch(self, profile: Profile) -> str:
        """Return that integers of the profile's widths are not exact on this processor, or wider ones are too."""
        from qedeploy.runtimes.processor import this_processor
        from qedeploy.runtimes.saturation import mismatch

        return mismatch(profile, this_processor())

    def findings(self) -> tuple[Finding, ...]:
        """Return what is installed, with its execution providers, how exact its kernels are here, and the profile."""
        found = package_finding(self.label, _PACKAGE, "qedeploy bench measures model.onnx with it")
        if found.status is Readiness.MISSING:
            return (found,)
        import onnxruntime

        from qedeploy.runtimes.processor import this_processor
        from qedeploy.runtimes.saturation import kernels

        providers = ", ".join(onnxruntime.get_available_providers())
        detail = (
            f"{found.detail}; providers: {providers}; integer kernels {kernels(this_processor())}; "
            f"profile for this CPU: {self.suited_profile()}"
        )
        return (Finding(name=found.name, status=Readiness.READY, detail=detail),)
