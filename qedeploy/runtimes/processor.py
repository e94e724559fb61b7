"""The processor that runtimes on the CPU compute with: its architecture, and its instructions for 8-bit arithmetic."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_INSTRUCTION_SETS = {
    "avx2": "avx2",
    "avx512f": "avx512f",
    "avx512_vnni": "avx512_vnni",
    "avx_vnni": "avx_vnni",
    "amx_int8": "amx_int8",
    "asimddp": "dotprod",
    "i8mm": "i8mm",
    "sve": "sve",
}
"""CPU flags by which 8-bit kernels are chosen: the operating system's name, and ours (x86 first, then Arm)."""

_DOT_PRODUCTS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8", "dotprod", "i8mm"})
_CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True, kw_only=True)
class Processor:
    """A processor. `instruction_sets` is empty where the operating system does not say."""

    architecture: str
    instruction_sets: tuple[str, ...]

    @property
    def x86(self) -> bool:
        """Whether it is a 64-bit x86."""
        return self.architecture.lower() in {"x86_64", "amd64"}

    @property
    def int8_products(self) -> bool:
        """Whether it has instructions for 8-bit dot products."""
        return has_int8_products(self.instruction_sets)


def this_processor() -> Processor:
    """Return the processor of this machine."""
    flags = cpuinfo("flags") or cpuinfo("Features") or ""
    return Processor(architecture=platform.machine(), instruction_sets=instruction_sets(flags.split()))


def instruction_sets(flags: Iterable[str]) -> tuple[str, ...]:
    """Return those of the kernel's CPU `flags` that matter to 8-bit arithmetic, in a fixed order."""
    present = set(flags)
    return tuple(name for flag, name in _INSTRUCTION_SETS.items() if flag in present)


def has_int8_products(sets: Iterable[str]) -> bool:
    """Return whether any of `sets`, named as in Processor, has 8-bit dot products."""
    return not _DOT_PRODUCTS.isdisjoint(sets)


def cpuinfo(key: str) -> str | None:
    """Return the first value of `key` in the kernel's description of the CPU, None where there is none."""
    try:
        lines = _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return None
