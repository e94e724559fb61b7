"""TensorRT for RTX as a Runtime: builds plans for named GPUs on any machine, and runs them where there is one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qedeploy.errors import RequestError, UserError
from qedeploy.profiles.capabilities import Capabilities
from qedeploy.runtimes.base import Artefact, BuildSource, OnEvent, ignore
from qedeploy.runtimes.findings import Finding, Readiness
from qedeploy.runtimes.nvidia.engine_runtime import LOWERINGS, RESTRICTIONS, UNSIGNED_ACTIVATION_BITS, EngineRuntime
from qedeploy.runtimes.nvidia.options import BUILD_OPTIONS
from qedeploy.runtimes.nvidia.product import Product
from qedeploy.runtimes.options import Settings

if TYPE_CHECKING:
    from qedeploy.qdq.dialect import Dialect

PRODUCT = Product(
    label="TensorRT for RTX",
    module="tensorrt_rtx",
    wheels="tensorrt-rtx",
    install="pip install 'qedeploy[tensorrt-rtx]'",
    # The first whose support matrix has compute capability 12.1, and the calls made here.
    oldest=(1, 5),
    oldest_gpu=(8, 0),
    architecture="Ampere",
    ahead_of_time=True,
)

_TARGETS = {
    "8.0": "",
    "8.6": "",
    "8.9": "",
    "12.0": "",
    "12.1": "",
    "7.5": (
        "TensorRT for RTX has no INT8 on Turing (its support matrix): it builds without a warning, into float kernels "
        "and a plan 2.6 times as large; use TensorRT there (t4-int8)"
    ),
    "9.0": "TensorRT for RTX does not compile for Hopper; use TensorRT there (h100-int8)",
}
"""Compute capabilities that its builder compiles for, and why not for others."""


class TensorRTForRTX(EngineRuntime):
    """TensorRT for RTX 1.5 and later."""

    name = "tensorrt_rtx"
    label = PRODUCT.label
    product = PRODUCT
    capabilities = Capabilities(
        lowerings=LOWERINGS,
        unsigned_activation_bits=UNSIGNED_ACTIVATION_BITS,
        restrictions=RESTRICTIONS,
        targets=_TARGETS,
    )
    dialects = ("tensorrt_rtx",)
    # It times no kernels: the cache has no effect, asks for a GPU, and is to be removed (its migration notes).
    build_options = tuple(option for option in BUILD_OPTIONS if option.name != "timing_cache")
    packages = ("tensorrt-rtx-cu13",)

    def dialect(self, name: str) -> Dialect:
        """Return the one dialect."""
        from qedeploy.runtimes.tensorrt_rtx.dialect import TensorRTForRTXDialect

        del name
        return TensorRTForRTXDialect()

    def build(
        self, source: BuildSource, target: Path, settings: Settings, batch: int | None, on_event: OnEvent = ignore
    ) -> Artefact:
        """Build the plan for the compute capability of the profile, or else of the GPU that is here.

        No GPU takes part: its kernels are finished on the one that runs the plan.
        """
        machine = self._look()
        version = machine.require_version()
        named = None if source.profile is None else source.profile.target
        capability = named or machine.require()[1].capability
        offered = ", ".join(name for name, why in _TARGETS.items() if not why)
        refused = _TARGETS.get(capability, f"{self.label} compiles for {offered}")
        if refused:
            raise RequestError(f"{source.model}: compute capability {capability}: {refused}")
        return self._built(source, target, settings, batch, on_event, version=version, gpu=None, capability=capability)

    def findings(self) -> tuple[Finding, ...]:
        """Return whether plans can be built here, and run."""
        try:
            machine = self._look()
        except UserError as error:
            return (Finding(name=self.label, status=Readiness.MISSING, detail=str(error), remedy=PRODUCT.install),)
        if machine.tensorrt is None:
            what, _, remedy = machine.lacks_tensorrt.rpartition(": ")
            return (Finding(name=self.label, status=Readiness.MISSING, detail=what, remedy=remedy),)
        built = f"{machine.tensorrt}; builds engine.plan for profiles such as rtx-40 here"
        if machine.gpu is None or machine.lacks_gpu:
            what, _, remedy = machine.lacks_gpu.rpartition(": ")
            detail = f"{built}, and runs none: {what}"
            return (Finding(name=self.label, status=Readiness.LIMITED, detail=detail, remedy=remedy),)
        return (Finding(name=self.label, status=Readiness.READY, detail=f"{built}, and runs them on {machine.gpu}"),)
