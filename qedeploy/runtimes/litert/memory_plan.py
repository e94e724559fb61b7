"""LiteRT for Microcontrollers as a MemoryPlan: what `arena`, `kernel_buffers` and `flatbuffer` will make of a network.

Sources as there. The bytes of a file beside its numbers are bounds, found from files and held by tests: names differ in
length, and tables are aligned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from qedeploy.network.structure import Bits
from qedeploy.profiles.memory_plan import MemoryPlan, PlannedSram
from qedeploy.runtimes.litert.int4 import held_in_int4

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from qedeploy.network.graph import Graph

    Sizes = NDArray[Any]


class LiteRTMemoryPlan(MemoryPlan):
    """Tensors of int8, whatever the widths of a network are, each rounded up to the allocator's alignment."""

    # A bias of 4 bytes, and for it and for the weights a scale of 4 and a zero point of 8.
    channel_bytes: ClassVar[int] = 28
    layer_bytes: ClassVar[int] = 424
    addition_bytes: ClassVar[int] = 200
    file_bytes: ClassVar[int] = 1200
    # A 32-bit multiplier and a 32-bit shift.
    multiplier_bytes: ClassVar[int] = 8

    def tensor(self, values: Sizes) -> Sizes:
        """Return the values, a byte each, rounded up."""
        from qedeploy.runtimes.litert.arena import aligned

        return aligned(values)

    def stored_kernel(self, kernel: Sizes, stride: int, size: int) -> Sizes:
        """Return the kernel, with a row and a column of zeros where LiteRT would start a pixel late (see `padding`)."""
        import numpy as np

        return np.asarray(kernel) + np.where(np.greater(kernel, 1), stride == 2 and size % 2 == 0, False)

    def convolution_buffer(self, kernel: Sizes, channels: Sizes) -> Sizes:
        """Return what CMSIS-NN's convolution works in."""
        from qedeploy.runtimes.litert.arena import aligned
        from qedeploy.runtimes.litert.kernel_buffers import convolution

        return aligned(convolution(kernel, kernel, channels))

    def depthwise_buffer(self, kernel: Sizes, channels: Sizes) -> Sizes:
        """Return what CMSIS-NN's depthwise convolution works in."""
        from qedeploy.runtimes.litert.arena import aligned
        from qedeploy.runtimes.litert.kernel_buffers import depthwise

        return aligned(depthwise(kernel, kernel, channels))

    def pooling_buffer(self, channels: Sizes, size: int) -> Sizes:
        """Return what a depthwise convolution of 2x2 works in, or the pooling that odd sizes have."""
        import numpy as np

        from qedeploy.runtimes.litert.arena import aligned
        from qedeploy.runtimes.litert.kernel_buffers import depthwise, sums

        return aligned(sums(channels) if size % 2 else depthwise(np.asarray(2), np.asarray(2), channels))

    def pooling_multipliers(self, channels: Sizes, size: int) -> Sizes:
        """Return those of the depthwise convolution; the pooling that odd sizes have keeps none."""
        import numpy as np

        return np.multiply(channels, 0 if size % 2 else self.multiplier_bytes)

    def mean_buffer(self, channels: Sizes) -> Sizes:
        """Return the sums of a MEAN."""
        from qedeploy.runtimes.litert.arena import aligned
        from qedeploy.runtimes.litert.kernel_buffers import sums

        return aligned(sums(channels))

    def pooling_bytes(self, channels: Sizes, size: int) -> Sizes:
        """Return the bytes of the depthwise convolution, or of the pooling that odd sizes have."""
        import numpy as np

        weights = np.multiply(channels, 0 if size % 2 else 4 + self.channel_bytes)
        return np.asarray(weights + (self.addition_bytes if size % 2 else self.layer_bytes))

    def weight_bytes(self, bits: Bits) -> float:
        """Return half a byte for int4, else one."""
        return 0.5 if held_in_int4(bits) else 1.0

    def sram(self, graph: Graph) -> PlannedSram:
        """Return the plan of LiteRT for Microcontrollers for `graph`."""
        from qedeploy.runtimes.litert.arena import buffers, plan
        from qedeploy.runtimes.litert.blank import blank
        from qedeploy.runtimes.litert.kernel_buffers import multiplied_channels
        from qedeploy.runtimes.litert.translation import translate

        program = translate(blank(graph))
        arena = plan(buffers(program))
        multipliers = multiplied_channels(program) * self.multiplier_bytes
        return PlannedSram(alive=arena.lower_bound, arena=arena.size, multipliers=multipliers)
