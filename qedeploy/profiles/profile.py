"""A Profile: which bit pairs a device and its runtime execute per layer kind, and what each is lowered to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from qedeploy.errors import RequestError
from qedeploy.network.layers import Layer, LayerCategory
from qedeploy.network.structure import Bits

NO_RUNTIME = "none"
"""The runtime's name in profiles of devices that qedeploy can search for but not export to."""


class Lowering(StrEnum):
    """The arithmetic a bit pair becomes on the device."""

    INT8 = "int8"
    INT4_WEIGHT_ONLY = "int4-weight-only"
    INT16 = "int16"
    FLOAT16 = "float16"
    FLOAT32 = "float32"
    EXACT = "exact"

    def executed(self, bits: Bits) -> Bits:
        """Return the widths that a layer of `bits` is really computed in."""
        width = _EXECUTED_WIDTH.get(self)
        return bits if width is None else Bits(weight=width, activation=width)


# Float32 multiplies are wider than any Bits can say; profiles therefore use it for nothing that has BitOps.
_EXECUTED_WIDTH = {Lowering.INT8: 8, Lowering.INT4_WEIGHT_ONLY: 16, Lowering.INT16: 16, Lowering.FLOAT16: 16}


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """One bit pair of a layer kind and its lowering.

    `carried` pairs run, in the range of a wider type that the device executes: fewer nominal BitOps, the same time.
    A search uses them only where its recipe names widths; by default it uses only pairs that the device gains from.
    """

    bits: Bits
    lowering: Lowering
    carried: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A peak rate in operations per second (a multiply-accumulate is two), with where the figure comes from."""

    operations_per_second: float
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What the device can hold, in bytes; None where no structure comes near the limit.

    `reserved_flash` and `reserved_sram` are what of the two a search leaves to all that is no weight and no activation.
    """

    weight_bytes: int | None = None
    activation_bytes: int | None = None
    reserved_flash: int = 0
    reserved_sram: int = 0
    bandwidth_bytes_per_second: float | None = None
    source: str = ""


REQUIRED_CATEGORIES = (
    LayerCategory.STEM,
    LayerCategory.POINTWISE,
    LayerCategory.DEPTHWISE,
    LayerCategory.HEAD,
    LayerCategory.CLASSIFIER,
)
"""What every profile has pairs for: the layers of a Structure."""

_STANDS_IN = {LayerCategory.CONVOLUTION: LayerCategory.STEM, LayerCategory.LINEAR: LayerCategory.CLASSIFIER}
"""The category whose pairs an unnamed category takes: the nearest operator among the required ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A device with its runtime. `precisions` lists the pairs of each layer kind, the natively executed ones first.

    Layers go by their category: by their position where they have one, else by their operator. A profile names those
    of a Structure; where it names no plain convolution it runs one as it does the stem, and any other linear layer as
    the classifier.

    `unsigned_activation_bits` is the widest unsigned activation the runtime represents exactly after a ReLU.
    `recipe` names the recipe of a search on this device if the user names none. `runtime` is the runtime's
    name, or `none`; `dialect` names the dialect of files for the device, None for the usual one. `target` is the device
    as a runtime that compiles ahead of time calls it (a compute capability), None for other runtimes.
    """

    name: str
    device: str
    runtime: str
    description: str
    precisions: Mapping[LayerCategory, tuple[Precision, ...]]
    unsigned_activation_bits: int
    rates: Mapping[Lowering, Rate]
    memory: Memory
    source: str
    recipe: str = "k1dwk1-224"
    dialect: str | None = None
    target: str | None = None

    @property
    def search_only(self) -> bool:
        """Whether no runtime executes the profile."""
        return self.runtime == NO_RUNTIME

    def native_pairs(self, kind: LayerCategory) -> tuple[Bits, ...]:
        """Return the pairs of `kind` that the device executes in a type of their own width."""
        return tuple(precision.bits for precision in self._of(kind) if not precision.carried)

    def pairs(self, kind: LayerCategory) -> tuple[Bits, ...]:
        """Return every pair of `kind` that the device runs, carried ones included."""
        return tuple(precision.bits for precision in self._of(kind))

    def precision(self, kind: LayerCategory, bits: Bits) -> Precision | None:
        """Return how `bits` runs in a layer of `kind`, or None where it does not."""
        return next((precision for precision in self._of(kind) if precision.bits == bits), None)

    def lower(self, layer: Layer) -> Precision:
        """Return how `layer` runs; raises RequestError naming the layer, its pair and those the profile has."""
        found = self.precision(layer.category, layer.bits)
        if found is None:
            offered = ", ".join(map(str, self.pairs(layer.category))) or "none"
            raise RequestError(
                f"{layer.name}: profile {self.name} has no {layer.bits} for {layer.category} layers; it has {offered}"
            )
        return found

    def require_runtime(self) -> None:
        """Raise RequestError if no runtime executes the profile, so that it is for search only."""
        if self.search_only:
            raise RequestError(
                f"profile {self.name} is for search only, no runtime executes it (`qedeploy profiles` lists others)"
            )

    def executed_bits(self, layers: tuple[Layer, ...]) -> dict[str, Bits]:
        """Return for each layer name the widths the device computes in; raises RequestError for a pair it lacks."""
        return {layer.name: self.lower(layer).lowering.executed(layer.bits) for layer in layers}

    def _of(self, category: LayerCategory) -> tuple[Precision, ...]:
        return self.precisions.get(category) or self.precisions[_STANDS_IN[category]]
