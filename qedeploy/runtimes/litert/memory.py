"""What a .tflite file takes of a microcontroller: flash for the file, SRAM for its tensors and kernels."""

from __future__ import annotations

from dataclasses import dataclass

from qedeploy.profiles.profile import Profile
from qedeploy.runtimes.litert.arena import buffers, plan
from qedeploy.runtimes.litert.kernel_buffers import convolutions, multiplied_channels
from qedeploy.runtimes.litert.memory_plan import LiteRTMemoryPlan
from qedeploy.runtimes.litert.program import Program
from qedeploy.units import format_bytes

_SCALE_BYTES, _ZERO_POINT_BYTES = 4, 8


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedMemory:
    """Bytes. `flash` is the whole file, and the sum of the four below it; `graph` is all that is none of the others.

    `arena` is the planner's for tensors and kernels' buffers, `arena_lower_bound` what lives at once at most, `fullest`
    the operator at which that is. `tensors_only` is the plan without kernels' buffers. `multipliers` are the
    fixed-point multipliers that kernels keep in SRAM for each output channel.
    """

    flash: int
    weights: int
    biases: int
    quantization: int
    graph: int
    arena: int
    arena_lower_bound: int
    fullest: str
    tensors_only: int
    multipliers: int

    @property
    def sram(self) -> int:
        """What of SRAM follows from the network: the runtime's own tables, stack and program come on top."""
        return self.arena + self.multipliers


def measure(program: Program, flash: int) -> PlannedMemory:
    """Return what `program` takes as a file of `flash` bytes."""
    kernels = convolutions(program)
    weights = sum(program.tensors[call.inputs[1]].size_bytes for call in kernels)
    biases = sum(program.tensors[call.inputs[2]].size_bytes for call in kernels)
    scales = sum(len(tensor.scale) for tensor in program.tensors.values() if tensor.scale is not None)
    quantization = scales * (_SCALE_BYTES + _ZERO_POINT_BYTES)
    wanted = buffers(program)
    arena = plan(wanted)
    return PlannedMemory(
        flash=flash,
        weights=weights,
        biases=biases,
        quantization=quantization,
        graph=flash - weights - biases - quantization,
        arena=arena.size,
        arena_lower_bound=arena.lower_bound,
        fullest=program.calls[arena.fullest].output,
        tensors_only=plan([buffer for buffer in wanted if not buffer.kernel]).size,
        multipliers=multiplied_channels(program) * LiteRTMemoryPlan.multiplier_bytes,
    )


def shortages(memory: PlannedMemory, profile: Profile) -> tuple[str, ...]:
    """Return a sentence for each of flash and SRAM that the network overfills, or leaves less of than is reserved."""
    device = profile.memory
    found = []
    for name, needed, limit, reserved, budget in (
        ("flash", memory.flash, device.weight_bytes, device.reserved_flash, "size"),
        ("SRAM", memory.sram, device.activation_bytes, device.reserved_sram, "peak-memory"),
    ):
        if limit is None or needed + reserved <= limit:
            continue
        has = f"{name}: the network alone takes {format_bytes(needed)}, and {profile.device} has {format_bytes(limit)}"
        if needed <= limit:
            has += f", of which {profile.name} reserves {format_bytes(reserved)}"
        found.append(f"{has}: search again with a smaller --budget {budget}")
    return tuple(found)
