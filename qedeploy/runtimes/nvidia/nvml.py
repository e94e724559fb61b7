"""What the GPU's clocks, heat and power did during a run, sampled by NVML from the process that does not measure."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

_INTERVAL = 0.05

_REASONS = {
    0x2: "application clocks are set",
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x10: "sync boost",
    0x20: "thermal slowdown (software)",
    0x40: "thermal slowdown (hardware)",
    0x80: "power brake",
    0x100: "display clocks are set",
}
"""Bits of NVML's clock event reasons; idle (bit 0) is left out, since between queries every GPU is."""

_THROTTLING = {0x4, 0x8, 0x20, 0x40, 0x80}


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuSample:
    """The GPU at one moment: clocks in MHz, temperature in degrees Celsius, power in watts, reasons as NVML's bits."""

    sm_clock: int
    memory_clock: int
    temperature: int
    power: float
    reasons: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuConditions:
    """A run's samples in short. `reasons` are what held the clocks down, each with its share of the samples."""

    samples: int
    sm_clock_lowest: int
    sm_clock_median: int
    sm_clock_highest: int
    sm_clock_limit: int | None
    memory_clock_median: int
    temperature_highest: int
    power_mean: float
    power_limit: float | None
    reasons: tuple[str, ...]
    throttled: bool
    driver: str


class GpuSampler:
    """Samples in a thread while its context lasts. Where NVML is missing it samples nothing and `problem` says why."""

    def __init__(self, bus_id: str = "") -> None:
        self._bus_id = bus_id
        self._samples: list[GpuSample] = []
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._nvml: Any = None
        self._handle: Any = None
        self.problem = ""

    def __enter__(self) -> Self:
        try:
            self._nvml = importlib.import_module("pynvml")
        except ModuleNotFoundError:
            self.problem = "clocks were not sampled: pip install nvidia-ml-py"
            return self
        try:
            self._nvml.nvmlInit()
            self._handle = self._find()
        except self._nvml.NVMLError as error:
            self.problem = f"clocks were not sampled: {error}"
            return self
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def conditions(self) -> GpuConditions | None:
        """Return what was sampled, None where nothing was."""
        if not self._samples:
            return None
        limit = self._ask("nvmlDeviceGetMaxClockInfo", self._handle, self._nvml.NVML_CLOCK_SM)
        power = self._ask("nvmlDeviceGetEnforcedPowerLimit", self._handle)
        watts = power / 1e3 if power else None
        return summarize(self._samples, sm_clock_limit=limit, power_limit=watts, driver=driver_version())

    def _find(self) -> Any:
        if self._bus_id:
            return self._nvml.nvmlDeviceGetHandleByPciBusId(self._bus_id.encode())
        return self._nvml.nvmlDeviceGetHandleByIndex(0)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._samples.append(self._sample())
            except self._nvml.NVMLError as error:
                self.problem = f"clocks were sampled in part: {error}"
                return
            self._stop.wait(_INTERVAL)

    def _sample(self) -> GpuSample:
        nvml, handle = self._nvml, self._handle
        # Renamed in 2023; older bindings know only the old name, and newer ones may drop it.
        ask = getattr(nvml, "nvmlDeviceGetCurrentClocksEventReasons", None)
        reasons = ask or nvml.nvmlDeviceGetCurrentClocksThrottleReasons
        return GpuSample(
            sm_clock=nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM),
            memory_clock=nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM),
            temperature=nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU),
            power=nvml.nvmlDeviceGetPowerUsage(handle) / 1e3,
            reasons=reasons(handle),
        )

    def _ask(self, name: str, *arguments: Any) -> Any:
        try:
            return getattr(self._nvml, name)(*arguments)
        except self._nvml.NVMLError:
            return None


def driver_version() -> str:
    """Return the version of NVIDIA's driver, "" where NVML is not installed or knows none."""
    try:
        nvml: Any = importlib.import_module("pynvml")
        nvml.nvmlInit()
        version = nvml.nvmlSystemGetDriverVersion()
    except ModuleNotFoundError:
        return ""
    except nvml.NVMLError:
        return ""
    return version.decode() if isinstance(version, bytes) else str(version)


def summarize(
    samples: Sequence[GpuSample], *, sm_clock_limit: int | None, power_limit: float | None, driver: str
) -> GpuConditions:
    """Return at least one sample in short."""
    clocks = sorted(sample.sm_clock for sample in samples)
    memory = sorted(sample.memory_clock for sample in samples)
    shares = {bit: sum(bool(sample.reasons & bit) for sample in samples) / len(samples) for bit in _REASONS}
    return GpuConditions(
        samples=len(samples),
        sm_clock_lowest=clocks[0],
        sm_clock_median=clocks[len(clocks) // 2],
        sm_clock_highest=clocks[-1],
        sm_clock_limit=sm_clock_limit,
        memory_clock_median=memory[len(memory) // 2],
        temperature_highest=max(sample.temperature for sample in samples),
        power_mean=sum(sample.power for sample in samples) / len(samples),
        power_limit=power_limit,
        reasons=tuple(f"{_REASONS[bit]} ({share:.0%} of the run)" for bit, share in shares.items() if share),
        throttled=any(shares[bit] for bit in _THROTTLING),
        driver=driver,
    )
