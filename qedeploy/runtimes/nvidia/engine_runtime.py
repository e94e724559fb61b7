"""What TensorRT and TensorRT for RTX are alike in as Runtimes: plans, their options, builds, and what they execute."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from qedeploy.network.layers import LayerCategory
from qedeploy.profiles.capabilities import Restriction
from qedeploy.profiles.profile import Lowering
from qedeploy.runtimes.base import Artefact, BuildSource, OnEvent, Runtime
from qedeploy.runtimes.nvidia.options import BUILD_OPTIONS, RUN_OPTIONS
from qedeploy.runtimes.nvidia.product import Product
from qedeploy.runtimes.options import Option, Settings, chosen

if TYPE_CHECKING:
    from qedeploy.qdq.metadata import ModelMetadata
    from qedeploy.runtimes.nvidia.machine import Gpu, TensorrtMachine
    from qedeploy.runtimes.nvidia.settings import EngineSettings
    from qedeploy.runtimes.runner import Runner, RunnerOptions
    from qedeploy.runtimes.typed import TypedGraphs

LOWERINGS = (Lowering.INT8, Lowering.INT4_WEIGHT_ONLY, Lowering.FLOAT16, Lowering.FLOAT32)

UNSIGNED_ACTIVATION_BITS = 7
"""Q saturates at -128..127, so that an unsigned value keeps 7 bits."""

RESTRICTIONS = {
    Lowering.INT4_WEIGHT_ONLY: Restriction(
        # 1x1 convolutions and the linear layer.
        kinds=(LayerCategory.POINTWISE, LayerCategory.HEAD, LayerCategory.CLASSIFIER, LayerCategory.LINEAR),
        what="layers written as MatMul",
    )
}


class EngineRuntime(Runtime):
    """A product whose engines are plans; `look` is what asks this machine for it and for a GPU."""

    product: ClassVar[Product]
    suffixes = (".plan", ".engine", ".trt")
    artefact = "engine.plan"
    run_options: tuple[Option, ...] = RUN_OPTIONS
    build_options: tuple[Option, ...] = BUILD_OPTIONS

    def __init__(self, look: Callable[[], TensorrtMachine] | None = None) -> None:
        self._asked = look

    def open(self, path: Path, options: RunnerOptions) -> Runner:
        """Return the runner of a plan."""
        from qedeploy.runtimes.nvidia.runner import TensorRTRunner

        return TensorRTRunner(path, options, look=self._look, product=self.product)

    def typed_graphs(self) -> TypedGraphs:
        """Return float16 with symmetric Q/DQ, as its dialect writes it."""
        from qedeploy.runtimes.nvidia.dialect import TensorRTDialect, block_size
        from qedeploy.runtimes.nvidia.half import round_scale
        from qedeploy.runtimes.typed import TypedGraphs

        dialect = TensorRTDialect()
        return TypedGraphs(
            label=self.label,
            opset=dialect.opset,
            block_size=block_size,
            round_scale=round_scale,
            rounding=dialect.rounding,
            float_tolerance=dialect.float_tolerance,
        )

    def require(self) -> None:
        """Raise MissingRuntimeError where the product or a GPU is missing."""
        self._look().require()

    def require_settings(self, settings: Settings, batch: int | None) -> None:
        """Raise UserError naming the option that cannot be read."""
        self._engine_settings(settings, batch)

    def metadata(self, path: Path) -> ModelMetadata | None:
        """Return what the engine.json beside a plan says, None where there is none."""
        from qedeploy.runtimes.nvidia.record import read_record

        record = read_record(path)
        return None if record is None else record.metadata

    def _look(self) -> TensorrtMachine:
        from qedeploy.runtimes.nvidia.machine import probe

        return probe(self.product) if self._asked is None else self._asked()

    def _built(
        self,
        source: BuildSource,
        target: Path,
        settings: Settings,
        batch: int | None,
        on_event: OnEvent,
        *,
        version: str,
        gpu: Gpu | None,
        capability: str | None = None,
    ) -> Artefact:
        """Build the engine, with engine.json beside it; layers without an INT8 kernel go to float16 where it may."""
        from qedeploy.runtimes.nvidia.engine import build_engine
        from qedeploy.runtimes.nvidia.fallback import without_quantization

        current = source

        def revise(layers: tuple[str, ...]) -> ModelMetadata:
            nonlocal current
            if current.rewrite is None or current.network is None:
                raise ValueError("a file that is not an export is not written again")
            current = current.rewrite(without_quantization(current.network, layers))
            if current.metadata is None:
                raise ValueError("an export says what it is")
            return current.metadata

        built = build_engine(
            source.model,
            target,
            version=version,
            gpu=gpu,
            metadata=source.metadata,
            revise=None if source.rewrite is None else revise,
            settings=self._engine_settings(settings, batch),
            on_event=on_event,
            product=self.product,
            target=capability,
        )
        record = built.record
        device = str(gpu) if capability is None else f"compute capability {capability}"
        return Artefact(
            path=built.plan,
            size_bytes=built.plan_bytes,
            seconds=built.seconds,
            description=f"{self.label} {record.tensorrt} for {device}, batch {record.settings.batch}",
            warnings=tuple(f"{name}: no INT8 kernel on this GPU, runs in float16" for name in record.dropped),
        )

    def _engine_settings(self, settings: Settings, batch: int | None) -> EngineSettings:
        from qedeploy.runtimes.nvidia.settings import parse_settings

        # What a product does not offer is off.
        return parse_settings(batch=batch, **{"timing_cache": False, **chosen(self.build_options, settings)})
