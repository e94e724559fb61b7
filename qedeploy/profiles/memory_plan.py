"""What the files of a runtime take of a device whose memory is planned ahead, before there is a file.

A runtime for microcontrollers offers a `MemoryPlan` among its capabilities; the search then limits what will be
planned, and not an estimate. Arguments called arrays are NumPy arrays, or numbers, that broadcast together.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from qedeploy.network.structure import Bits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from qedeploy.network.graph import Graph

    Sizes = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedSram:
    """Bytes of SRAM that follow from a network.

    `alive` is the most of tensors and of what kernels work in that there is at one time, `arena` the plan that finds
    room for them, never less. `multipliers` is what kernels keep beside it from the start.
    """

    alive: int
    arena: int
    multipliers: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.arena + self.multipliers

    def document(self) -> dict[str, int]:
        """Return it as JSON-ready data, in bytes."""
        return {**asdict(self), "total": self.total}


class MemoryPlan(ABC):
    """How a runtime plans. Kernels are given by the side that they are stored with, see `stored_kernel`."""

    channel_bytes: ClassVar[int]
    """What a file holds for each output channel of a layer beside its weights: bias, scales, zero points."""

    layer_bytes: ClassVar[int]
    """At most what it holds for a layer beside that: operator, tensors and their names."""

    addition_bytes: ClassVar[int]
    """The same for the addition of a shortcut."""

    file_bytes: ClassVar[int]
    """The same for all that every file has."""

    multiplier_bytes: ClassVar[int]
    """What kernels keep in SRAM for each output channel of a layer."""

    @abstractmethod
    def tensor(self, values: Sizes) -> Sizes:
        """Return the bytes that so many activations take in SRAM, whatever their width is."""

    @abstractmethod
    def stored_kernel(self, kernel: Sizes, stride: int, size: int) -> Sizes:
        """Return the side with which a square kernel is stored that moves by `stride` over `size` pixels square."""

    @abstractmethod
    def convolution_buffer(self, kernel: Sizes, channels: Sizes) -> Sizes:
        """Return the bytes in which a convolution of `channels` inputs works."""

    @abstractmethod
    def depthwise_buffer(self, kernel: Sizes, channels: Sizes) -> Sizes:
        """Return the bytes in which a depthwise convolution works."""

    @abstractmethod
    def pooling_buffer(self, channels: Sizes, size: int) -> Sizes:
        """Return the bytes in which a pooling of 2x2 over `size` pixels square works."""

    @abstractmethod
    def pooling_multipliers(self, channels: Sizes, size: int) -> Sizes:
        """Return what it keeps in SRAM from the start."""

    @abstractmethod
    def mean_buffer(self, channels: Sizes) -> Sizes:
        """Return the bytes in which the pooling of a whole input works."""

    @abstractmethod
    def pooling_bytes(self, channels: Sizes, size: int) -> Sizes:
        """Return at most what a file holds for a pooling of 2x2 over `size` pixels square."""

    @abstractmethod
    def weight_bytes(self, bits: Bits) -> float:
        """Return the bytes of one weight of a layer of a pair in a file."""

    @abstractmethod
    def sram(self, graph: Graph) -> PlannedSram:
        """Return the plan of a network for one image.

        Raises RequestError naming a layer that the runtime does not compute.
        """
