"""The machine a figure was measured on: without it, the figure says nothing."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from qedeploy.runtimes.processor import cpuinfo, has_int8_products, this_processor
from qedeploy.runtimes.registry import runtimes

_PACKAGES = ("qedeploy", "onnx", "numpy", "torch")
"""Packages that every figure depends on, besides those of the runtimes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageVersion:
    """An installed package."""

    name: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine and its state now. What cannot be read here is None, or empty.

    `usable_cores` are those this process may use; `governor` is the CPU's frequency policy; `load` is the mean
    number of runnable processes over the last minute.
    """

    cpu: str
    physical_cores: int | None
    logical_cores: int | None
    usable_cores: int
    instruction_sets: tuple[str, ...]
    memory_bytes: int
    system: str
    python: str
    packages: tuple[PackageVersion, ...]
    governor: str | None
    load: float | None

    @property
    def int8_products(self) -> bool:
        """Whether the CPU has instructions for 8-bit dot products."""
        return has_int8_products(self.instruction_sets)


def describe_machine() -> Machine:
    """Return a description of this machine; what cannot be read is left out, and nothing fails."""
    import psutil

    return Machine(
        cpu=_cpu_name(),
        physical_cores=psutil.cpu_count(logical=False),
        logical_cores=psutil.cpu_count(logical=True),
        usable_cores=_usable_cores(),
        instruction_sets=this_processor().instruction_sets,
        memory_bytes=psutil.virtual_memory().total,
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        packages=tuple(_installed(dict.fromkeys((*_PACKAGES, *_of_runtimes())))),
        governor=_read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        load=_load(),
    )


def _cpu_name() -> str:
    return cpuinfo("model name") or platform.processor() or platform.machine()


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _load() -> float | None:
    with suppress(OSError, AttributeError):
        return os.getloadavg()[0]
    return None


def _of_runtimes() -> Iterable[str]:
    return (package for runtime in runtimes() for package in runtime.packages)


def _installed(names: Iterable[str]) -> Iterable[PackageVersion]:
    for name in names:
        with suppress(importlib.metadata.PackageNotFoundError):
            yield PackageVersion(name=name, version=importlib.metadata.version(name))


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
