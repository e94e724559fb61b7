"""LiteRT as a Runtime: writes full-integer files for microcontrollers and phones, and runs them on this CPU."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qedeploy.errors import MissingRuntimeError
from qedeploy.profiles.capabilities import Capabilities
from qedeploy.profiles.profile import Lowering
from qedeploy.runtimes.base import Artefact, BuildSource, OnEvent, Runtime, ignore
from qedeploy.runtimes.findings import Finding, package_finding
from qedeploy.runtimes.litert.memory_plan import LiteRTMemoryPlan
from qedeploy.runtimes.options import Option, Settings, chosen

if TYPE_CHECKING:
    from qedeploy.qdq.dialect import Dialect
    from qedeploy.qdq.metadata import ModelMetadata
    from qedeploy.runtimes.runner import Runner, RunnerOptions

_PACKAGE = "ai-edge-litert"
_EXTRA = "'qedeploy[litert]'"
_C_ARRAY = Option(
    name="c_array",
    default=False,
    kind=bool,
    help="Also write model.tflite as a C array, for firmware that links it (LiteRT).",
)


class LiteRT(Runtime):
    """LiteRT's interpreter on the CPU; its files are what LiteRT for Microcontrollers executes on a board."""

    name = "litert"
    label = "LiteRT"
    # Files are int8; cores that multiply 16 bits widen them. Zero points are free, so that 8 unsigned bits are whole.
    capabilities = Capabilities(
        lowerings=(Lowering.INT8, Lowering.INT16), unsigned_activation_bits=8, memory_plan=LiteRTMemoryPlan()
    )
    suffixes = (".tflite",)
    dialects = ("litert",)
    packages = (_PACKAGE,)
    on_cpu = True
    artefact = "model.tflite"
    build_options = (_C_ARRAY,)

    def dialect(self, name: str) -> Dialect:
        """Return the one dialect."""
        from qedeploy.runtimes.litert.dialect import LiteRTDialect

        del name
        return LiteRTDialect()

    def open(self, path: Path, options: RunnerOptions) -> Runner:
        """Return the runner of a .tflite file."""
        from qedeploy.runtimes.litert.runner import LiteRTRunner

        self.require()
        return LiteRTRunner(path, options)

    def require(self) -> None:
        """Raise MissingRuntimeError where the package is missing: it has the file's schema as well as the kernels."""
        if self.version() is None:
            raise MissingRuntimeError(f"{self.label} is not installed: pip install {_EXTRA}")

    def build(
        self, source: BuildSource, target: Path, settings: Settings, batch: int | None, on_event: OnEvent = ignore
    ) -> Artefact:
        """Write model.tflite, verified integer by integer in the reference kernels, with its record beside it.

        With the option, the same bytes as a C array too.
        """
        from qedeploy.runtimes.litert.build import build

        del on_event
        self.require()
        return build(source, target, batch or 1, c_array=chosen(self.build_options, settings)[_C_ARRAY.name])

    def metadata(self, path: Path) -> ModelMetadata | None:
        """Return what the record beside a file says, None where there is none."""
        from qedeploy.runtimes.litert.record import read_record

        record = read_record(path)
        return None if record is None else record.metadata

    def findings(self) -> tuple[Finding, ...]:
        """Return whether the package is installed."""
        return (package_finding(self.label, _PACKAGE, "qedeploy export writes model.tflite with it", _EXTRA),)
