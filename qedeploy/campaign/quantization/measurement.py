"""What each layer costs in each precision: the error of the outputs on data, and the time of a query, both measured.

A network with one layer in integers and the float network run in turn on the same data, so that one run gives both.
What one layer changes is found in the times of nodes, since that of a query shows it too coarsely; what a set of layers
does is the query's own time, to which the profiler adds nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from qedeploy.campaign.quantization.kept import KeptMeasurements
from qedeploy.campaign.quantization.metric import Metric
from qedeploy.campaign.quantization.request import QuantizationOptions
from qedeploy.errors import RequestError
from qedeploy.export.onnx_networks.data import Sample
from qedeploy.export.onnx_networks.output_error import OutputMeasure, fit_measures, total_error
from qedeploy.export.onnx_networks.quantizer import Quantizer
from qedeploy.runtimes.mixed import MixedExecution
from qedeploy.runtimes.turns import AlternatedRun, Feed, TimedRun, added_seconds, seconds_around

Run = TypeVar("Run")

FLOAT_NETWORK = "float"
LAYERS_AT_ONCE = 4
"""Layers that are measured in turn with one float network: more would not fit into the caches of small machines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerMeasurement:
    """One layer in one precision while all others are in float32.

    `seconds` is what a query takes more than in float32 throughout, of which `seconds_before` and `seconds_behind` go
    to nodes that are not needed there, before and behind the layer's kernel; `error` is the mean over `samples` of the
    outputs' error and `error_spread` its standard error.
    """

    layer: str
    precision: str
    seconds: float
    seconds_before: float
    seconds_behind: float
    error: float
    error_spread: float
    samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SetMeasurement:
    """Several layers in integers at once, measured as a whole; `drop` is that of the metric where there is one."""

    precisions: Mapping[str, str]
    seconds: float
    error: float
    drop: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bed:
    """What measurements are made on: the quantizer, the data, and how long to run each model (seconds).

    `kept` are those made before.
    """

    quantizer: Quantizer
    execution: MixedExecution
    feeds: Sequence[Feed]
    outputs: Sequence[str]
    measures: Sequence[OutputMeasure]
    sources: Sequence[Path]
    metric: Metric | None
    duration: float
    threads: int
    kept: KeptMeasurements

    def drop(self, expected: AlternatedRun | TimedRun, found: AlternatedRun | TimedRun) -> float | None:
        """Return how much the metric falls, in its unit; None without one."""
        if self.metric is None:
            return None
        first, second = (
            self.metric.of([dict(zip(self.outputs, item, strict=True)) for item in run.outputs], self.sources)
            for run in (expected, found)
        )
        return first - second

    def errors(self, expected: AlternatedRun | TimedRun, found: AlternatedRun | TimedRun) -> list[float]:
        """Return the error of each sample's outputs."""
        return [
            total_error(self.measures, self.outputs, first, second)
            for first, second in zip(expected.outputs, found.outputs, strict=True)
        ]


def make_bed(
    quantizer: Quantizer,
    execution: MixedExecution,
    samples: Sequence[Sample],
    options: QuantizationOptions,
    kept: KeptMeasurements,
) -> Bed:
    """Return a bed whose measure of error fits what the float network makes of `samples`."""
    feeds = [sample.feed for sample in samples]
    outputs = [item.name for item in quantizer.model.graph.output]
    run = execution.compare({FLOAT_NETWORK: quantizer.model.SerializeToString()}, feeds, 0.0, options.threads)
    return Bed(
        quantizer=quantizer,
        execution=execution,
        feeds=feeds,
        outputs=outputs,
        measures=fit_measures(outputs, run[FLOAT_NETWORK].outputs),
        sources=[sample.source for sample in samples],
        metric=options.metric,
        duration=options.duration,
        threads=options.threads,
        kept=kept,
    )


def measure_float(bed: Bed) -> float:
    """Return what a query of the float network takes (seconds)."""
    measure = partial(_run, bed, [], bed.execution.compare)
    row = bed.kept.once("float", [], lambda: {"seconds": measure()[FLOAT_NETWORK].seconds}, dict)
    return float(row["seconds"])


def measure_layers(
    bed: Bed, wanted: Sequence[tuple[str, str]], progress: Callable[[int, int], None] = lambda _done, _total: None
) -> tuple[LayerMeasurement, ...]:
    """Return what each layer and precision costs by itself."""
    found: list[LayerMeasurement] = []
    for start in range(0, len(wanted), LAYERS_AT_ONCE):
        batch = [{layer: precision} for layer, precision in wanted[start : start + LAYERS_AT_ONCE]]
        found.extend(bed.kept.once("layers", batch, partial(_layers, bed, batch), _read_layers))
        progress(len(found), len(wanted))
    return tuple(found)


def measure_sets(
    bed: Bed,
    wanted: Sequence[Mapping[str, str]],
    float_seconds: float,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> tuple[SetMeasurement, ...]:
    """Return the measurement of each set of layers in integers, where a query takes `float_seconds` in float32."""
    found: list[SetMeasurement] = []
    for start in range(0, len(wanted), LAYERS_AT_ONCE):
        batch = wanted[start : start + LAYERS_AT_ONCE]
        found.extend(bed.kept.once("sets", batch, partial(_sets, bed, batch, float_seconds), _read_sets))
        progress(len(found), len(wanted))
    return tuple(found)


def _layers(bed: Bed, batch: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Return the row of layers measured alone, in turn with one float network."""
    runs = _run(bed, batch, bed.execution.alternate)
    reference = runs[FLOAT_NETWORK]
    measured = []
    for index, precisions in enumerate(batch):
        run = runs[str(index)]
        errors = bed.errors(reference, run)
        before, behind = seconds_around(reference.nodes, run.nodes, bed.execution.kernels)
        ((layer, precision),) = precisions.items()
        measured.append(
            LayerMeasurement(
                layer=layer,
                precision=precision,
                seconds=added_seconds(reference.nodes, run.nodes),
                seconds_before=before,
                seconds_behind=behind,
                error=float(np.mean(errors)),
                error_spread=float(np.std(errors, ddof=1) / math.sqrt(len(errors))) if len(errors) > 1 else 0.0,
                samples=len(errors),
            )
        )
    return {"measured": [asdict(item) for item in measured]}


def _read_layers(row: Mapping[str, Any]) -> list[LayerMeasurement]:
    return [LayerMeasurement(**item) for item in row["measured"]]


def _sets(bed: Bed, batch: Sequence[Mapping[str, str]], float_seconds: float) -> dict[str, Any]:
    """Return the row of sets of layers, in turn with one float network."""
    runs = _run(bed, batch, bed.execution.compare)
    reference = runs[FLOAT_NETWORK]
    measured = [
        SetMeasurement(
            precisions=dict(precisions),
            seconds=(runs[str(index)].seconds / reference.seconds - 1) * float_seconds,
            error=float(np.mean(bed.errors(reference, runs[str(index)]))),
            drop=bed.drop(reference, runs[str(index)]),
        )
        for index, precisions in enumerate(batch)
    ]
    return {"measured": [asdict(item) for item in measured]}


def _read_sets(row: Mapping[str, Any]) -> list[SetMeasurement]:
    return [SetMeasurement(**item) for item in row["measured"]]


def _run(
    bed: Bed,
    batch: Sequence[Mapping[str, str]],
    execute: Callable[[Mapping[str, bytes], Sequence[Feed], float, int], dict[str, Run]],
) -> dict[str, Run]:
    models = {FLOAT_NETWORK: bed.quantizer.model.SerializeToString()}
    models |= {
        str(index): bed.quantizer.write(precisions).model.SerializeToString() for index, precisions in enumerate(batch)
    }
    try:
        return execute(models, bed.feeds, bed.duration * len(models), bed.threads)
    except Exception as error:  # a runtime's exceptions need have no common base
        layers = ", ".join(name for precisions in batch for name in precisions)
        raise RequestError(
            f"{bed.execution.label} cannot execute the network with {layers} in integers: {error}"
        ) from error
