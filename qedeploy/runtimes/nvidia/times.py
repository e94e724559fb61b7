"""The samples of an engine's queries, what they say, and trtexec's warnings about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qedeploy.runtimes.timing import percentile

_ENQUEUE_BOUND = 0.8
"""Enqueue time over GPU time from which on the host is what limits (trtexec's limit)."""

_UNSTABLE = 0.025


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EngineTimes:
    """Seconds of every query, each (queries,), in the order they ran; `elapsed` is the wall time of them all.

    `latency` is end to end, `gpu` between events around the engine, `enqueue` what the host took to launch it,
    `upload` and `download` the copies; these are zero where the queries made none, and `upload_alone` and
    `download_alone` (median seconds) then tell what they would take.
    """

    latency: NDArray[np.float64]
    gpu: NDArray[np.float64]
    enqueue: NDArray[np.float64]
    upload: NDArray[np.float64]
    download: NDArray[np.float64]
    elapsed: float
    upload_alone: float | None = None
    download_alone: float | None = None

    @classmethod
    def of_milliseconds(
        cls,
        columns: Mapping[str, Sequence[float]],
        *,
        elapsed: float,
        upload_alone: float | None = None,
        download_alone: float | None = None,
    ) -> EngineTimes:
        """Return the times of columns in milliseconds, by the names of the fields; `elapsed` is in seconds."""

        def seconds(name: str) -> NDArray[np.float64]:
            return np.asarray(columns[name], dtype=np.float64) * 1e-3

        return cls(
            latency=seconds("latency"),
            gpu=seconds("gpu"),
            enqueue=seconds("enqueue"),
            upload=seconds("upload"),
            download=seconds("download"),
            elapsed=elapsed,
            upload_alone=None if upload_alone is None else upload_alone * 1e-3,
            download_alone=None if download_alone is None else download_alone * 1e-3,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """A time in seconds over the queries; `variation` is its coefficient of variation."""

    mean: float
    median: float
    p90: float
    p95: float
    p99: float
    variation: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeFigures:
    """What the queries of a run took. Copies are None where nothing is known of them."""

    queries: int
    gpu: Figures
    latency: Figures
    enqueue: Figures
    upload: float | None
    download: float | None
    throughput: float


def figures(samples: NDArray[np.float64]) -> Figures:
    """Return the figures of at least one sample, percentiles by trtexec's rule."""
    ordered = np.sort(samples)
    mean = float(ordered.mean())
    return Figures(
        mean=mean,
        median=float(np.median(ordered)),
        p90=percentile(ordered, 90),
        p95=percentile(ordered, 95),
        p99=percentile(ordered, 99),
        variation=float(ordered.std()) / mean if mean > 0 else 0.0,
    )


def summarize(times: EngineTimes) -> TimeFigures:
    """Return what `times` say; copies are those of the queries, or those measured alone."""
    return TimeFigures(
        queries=len(times.gpu),
        gpu=figures(times.gpu),
        latency=figures(times.latency),
        enqueue=figures(times.enqueue),
        upload=_copies(times.upload, times.upload_alone),
        download=_copies(times.download, times.download_alone),
        throughput=len(times.gpu) / times.elapsed if times.elapsed > 0 else 0.0,
    )


def time_warnings(found: TimeFigures, *, cuda_graph: bool | None) -> tuple[str, ...]:
    """Return what limits or spoils a run: launches, copies, clocks. `cuda_graph` None where that is not known."""
    said = []
    if found.enqueue.median > _ENQUEUE_BOUND * found.gpu.median:
        mend = "a larger batch would use the GPU" if cuda_graph else "measure with a CUDA graph, or with a larger batch"
        said.append(
            f"Enqueue-bound: the host takes {found.enqueue.median * 1e3:.3f} ms to launch what the GPU computes in "
            f"{found.gpu.median * 1e3:.3f} ms (medians); {mend}."
        )
    for name, seconds in (("to the GPU", found.upload), ("back from it", found.download)):
        if seconds is not None and seconds >= found.gpu.median:
            said.append(
                f"Transfer-bound: the copy {name} takes {seconds * 1e3:.3f} ms (median), no less than the engine's "
                f"{found.gpu.median * 1e3:.3f} ms; overlap copies with queries, or keep the data on the GPU."
            )
    if found.gpu.variation > _UNSTABLE:
        said.append(
            f"GPU time varies by {found.gpu.variation:.1%}, over {_UNSTABLE:.1%}: unstable; lock the clocks "
            "(nvidia-smi -lgc), or read the clocks and temperatures below before comparing."
        )
    return tuple(said)


def _copies(samples: NDArray[np.float64], alone: float | None) -> float | None:
    return float(np.median(samples)) if samples.any() else alone
