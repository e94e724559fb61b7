"""OpenVINO as a Runtime: its CPU plugin runs exported files as they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qedeploy.errors import MissingRuntimeError
from qedeploy.profiles.capabilities import Capabilities
from qedeploy.profiles.profile import Lowering
from qedeploy.runtimes.base import Runtime
from qedeploy.runtimes.findings import Finding, Readiness, package_finding

if TYPE_CHECKING:
    from torch import Tensor

    from qedeploy.qdq.dialect import Dialect
    from qedeploy.qdq.lowered import LoweredNetwork
    from qedeploy.runtimes.execution import ExecutionCheck
    from qedeploy.runtimes.products import Products
    from qedeploy.runtimes.runner import Runner, RunnerOptions

_PACKAGE = "openvino"
_EXTRA = "'qedeploy[openvino]'"


class OpenVINO(Runtime):
    """OpenVINO's CPU plugin."""

    name = "openvino"
    label = "OpenVINO"
    capabilities = Capabilities(lowerings=(Lowering.INT8, Lowering.FLOAT32), unsigned_activation_bits=8)
    suffixes = (".onnx",)
    dialects = ("openvino",)
    packages = (_PACKAGE,)
    on_cpu = True
    baselines = True

    def dialect(self, name: str) -> Dialect:
        """Return the one dialect."""
        from qedeploy.runtimes.openvino.dialect import OpenVINODialect

        del name
        return OpenVINODialect()

    def open(self, path: Path, options: RunnerOptions) -> Runner:
        """Return the runner of an ONNX file."""
        from qedeploy.runtimes.openvino.runner import OpenVINORunner

        self.require()
        return OpenVINORunner(path, options)

    def require(self) -> None:
        """Raise MissingRuntimeError where the package is missing."""
        if self.version() is None:
            raise MissingRuntimeError(f"{self.label} is not installed: pip install {_EXTRA}")

    def execution(self, network: LoweredNetwork, images: Tensor) -> ExecutionCheck | None:
        """Return how its kernels compute `network`, None where it is not installed."""
        from qedeploy.runtimes.openvino.verification import verify

        version = self.version()
        if version is None:
            return None
        return verify(network, self.dialect(network.plan.dialect), images, f"{self.label} {version}")

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

    def findings(self) -> tuple[Finding, ...]:
        """Return whether it is installed, with its devices and how exact its kernels are here."""
        found = package_finding(self.label, _PACKAGE, "qedeploy bench --runtime openvino measures with it", _EXTRA)
        if found.status is Readiness.MISSING:
            return (found,)
        import openvino

        from qedeploy.runtimes.processor import this_processor
        from qedeploy.runtimes.saturation import kernels

        devices = ", ".join(openvino.Core().available_devices)
        detail = f"{found.detail}; devices: {devices}; integer kernels {kernels(this_processor())}"
        return (Finding(name=found.name, status=Readiness.READY, detail=detail),)
