"""Where LiteRT for Microcontrollers puts a program's tensors: lifetimes and offsets of its greedy planner.

The largest buffer comes first, at offset zero; each of the others into the lowest gap among those placed that live at
the same time. Source: greedy_memory_planner.cc and micro_allocator.cc of LiteRT for Microcontrollers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from numpy.typing import NDArray

from qedeploy.runtimes.litert.kernel_buffers import kernel_buffer
from qedeploy.runtimes.litert.program import Program

Size = TypeVar("Size", int, NDArray[Any])

ALIGNMENT = 16
"""Bytes to which the allocator rounds each buffer up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArenaBuffer:
    """A buffer of `size` bytes that lives from call `first` to call `last`, both included.

    `kernel` marks what a kernel works in, as opposed to a tensor.
    """

    name: str
    size: int
    first: int
    last: int
    kernel: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A buffer and its offset in the arena, in bytes."""

    buffer: ArenaBuffer
    offset: int

    @property
    def end(self) -> int:
        """The first byte behind it."""
        return self.offset + self.buffer.size


@dataclass(frozen=True, slots=True, kw_only=True)
class Arena:
    """A plan. `placed` are all buffers in the order of their tensors, kernels' buffers behind."""

    placed: tuple[Placed, ...]

    @property
    def size(self) -> int:
        """Bytes of the arena's part for tensors and kernels."""
        return max((item.end for item in self.placed), default=0)

    @property
    def lower_bound(self) -> int:
        """Most bytes that live at one time, which no plan gets below."""
        return self._living(self.fullest)

    @property
    def fullest(self) -> int:
        """The first call during which most bytes live."""
        return max(sorted({item.buffer.first for item in self.placed}), key=self._living, default=0)

    def _living(self, call: int) -> int:
        return sum(item.buffer.size for item in self.placed if item.buffer.first <= call <= item.buffer.last)


def buffers(program: Program) -> tuple[ArenaBuffer, ...]:
    """Return the computed tensors of `program` with their lifetimes, and what its kernels work in.

    The input is there from the start, the output until the end.
    """
    first = {program.source: 0}
    last = {program.result: len(program.calls) - 1}
    for index, call in enumerate(program.calls):
        first.setdefault(call.output, index)
        for name in (*call.inputs, call.output):
            last[name] = max(last.get(name, index), index)
    tensors = [
        ArenaBuffer(name=name, size=aligned(tensor.size_bytes), first=first[name], last=last[name])
        for name, tensor in program.tensors.items()
        if tensor.data is None
    ]
    kernels = [
        ArenaBuffer(name=f"{call.output} (kernel)", size=aligned(size), first=index, last=index, kernel=True)
        for index, call in enumerate(program.calls)
        if (size := kernel_buffer(program, call))
    ]
    return (*tensors, *kernels)


def plan(wanted: Sequence[ArenaBuffer]) -> Arena:
    """Return the greedy plan of buffers."""
    placed: dict[int, Placed] = {}
    by_offset: list[Placed] = []
    # Equal sizes keep their order.
    for index in sorted(range(len(wanted)), key=lambda index: -wanted[index].size):
        buffer = wanted[index]
        offset = 0
        for other in by_offset:
            if not (other.buffer.first <= buffer.last and buffer.first <= other.buffer.last):
                continue
            if other.offset - offset >= buffer.size:
                break
            offset = max(offset, other.end)
        placed[index] = Placed(buffer=buffer, offset=offset)
        # Behind those at the same offset, as the planner's list has them.
        position = sum(other.offset <= offset for other in by_offset)
        by_offset.insert(position, placed[index])
    return Arena(placed=tuple(placed[index] for index in sorted(placed)))


def aligned(size: Size) -> Size:
    """Return bytes, a number or an array, as the allocator rounds them up."""
    return -(-size // ALIGNMENT) * ALIGNMENT
