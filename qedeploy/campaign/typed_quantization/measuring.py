"""What each layer costs in each precision, and sets of layers together: the error of the outputs on data, measured.

Networks run literally, with their integers as planned: what differs from the float network is the rounding. One layer
alone is measured in float32. Sets are measured as the file will be, in float16, and in float32 too, and the worse
counts: where one sample tips over by a rounding of the one, it does so by another rounding on the device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from qedeploy.campaign.quantization.kept import KeptMeasurements
from qedeploy.campaign.quantization.metric import Metric
from qedeploy.errors import RequestError
from qedeploy.export.onnx_networks.data import Sample
from qedeploy.export.onnx_networks.output_error import OutputMeasure, fit_measures, total_error
from qedeploy.export.typed_networks.quantizer import TypedQuantizer
from qedeploy.runtimes.registry import reference
from qedeploy.runtimes.turns import Feed


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerError:
    """One layer in one precision while all others are not rounded: the mean error over samples, its standard error."""

    layer: str
    precision: str
    error: float
    error_spread: float
    samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SetError:
    """Several layers rounded at once, the worse of float16 and float32; `drop` is the metric's where there is one."""

    precisions: Mapping[str, str]
    error: float
    drop: float | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ErrorBed:
    """What errors are measured on: the data, what the float network makes of them, and how to take the difference.

    `kept` are errors measured before.
    """

    quantizer: TypedQuantizer
    feeds: Sequence[Feed]
    names: Sequence[str]
    expected: Sequence[Sequence[NDArray[Any]]]
    measures: Sequence[OutputMeasure]
    sources: Sequence[Path]
    metric: Metric | None
    kept: KeptMeasurements

    def outputs(self, model: onnx.ModelProto) -> list[list[NDArray[Any]]]:
        """Return what `model` makes of each feed."""
        evaluate = reference().exact(model.SerializeToString(), False)
        return [_in_order(evaluate(feed), self.names) for feed in self.feeds]

    def half_outputs(self, model: onnx.ModelProto) -> list[list[NDArray[Any]]]:
        """Return what a `model` in float32 makes of each feed once it is in float16.

        Raises RequestError for an output that is not finite.
        """
        outputs = self.outputs(self.quantizer.in_half(model))
        for name, arrays in zip(self.names, zip(*outputs, strict=True), strict=True):
            if not all(np.isfinite(array).all() for array in arrays if array.dtype.kind == "f"):
                raise RequestError(f"output {name!r} is not finite in float16: the network computes beyond its range")
        return outputs

    def errors(self, found: Sequence[Sequence[NDArray[Any]]]) -> list[float]:
        """Return the error of each sample's outputs."""
        return [
            total_error(self.measures, self.names, expected, outputs)
            for expected, outputs in zip(self.expected, found, strict=True)
        ]

    def drop(self, found: Sequence[Sequence[NDArray[Any]]]) -> float | None:
        """Return how much the metric falls, in its unit; None without one."""
        if self.metric is None:
            return None
        before, after = (
            self.metric.of([dict(zip(self.names, item, strict=True)) for item in outputs], self.sources)
            for outputs in (self.expected, found)
        )
        return before - after


def make_error_bed(
    quantizer: TypedQuantizer, samples: Sequence[Sample], metric: Metric | None, kept: KeptMeasurements
) -> ErrorBed:
    """Return a bed on which the error of the outputs fits what the float network makes of `samples`."""
    names = [item.name for item in quantizer.model.graph.output]
    feeds = [sample.feed for sample in samples]
    evaluate = reference().exact(quantizer.model.SerializeToString(), False)
    expected = [_in_order(evaluate(feed), names) for feed in feeds]
    return ErrorBed(
        quantizer=quantizer,
        feeds=feeds,
        names=names,
        expected=expected,
        measures=fit_measures(names, expected),
        sources=[sample.source for sample in samples],
        metric=metric,
        kept=kept,
    )


def measure_layer_errors(
    bed: ErrorBed, wanted: Sequence[tuple[str, str]], progress: Callable[[int, int], None]
) -> tuple[LayerError, ...]:
    """Return the error of each (layer, precision) alone."""
    found = []
    for layer, precision in wanted:
        measure = partial(_layer_error, bed, layer, precision)
        found.append(bed.kept.once("layer", [{layer: precision}], measure, lambda row: LayerError(**row["measured"])))
        progress(len(found), len(wanted))
    return tuple(found)


def measure_set_error(bed: ErrorBed, precisions: Mapping[str, str]) -> SetError:
    """Return the error of a network with several layers rounded."""
    measure = partial(_set_error, bed, precisions)
    return bed.kept.once("set", [precisions], measure, lambda row: SetError(**row["measured"]))


def _layer_error(bed: ErrorBed, layer: str, precision: str) -> dict[str, Any]:
    errors = bed.errors(bed.outputs(bed.quantizer.write({layer: precision}).model))
    measured = LayerError(
        layer=layer,
        precision=precision,
        error=float(np.mean(errors)),
        error_spread=float(np.std(errors, ddof=1) / math.sqrt(len(errors))) if len(errors) > 1 else 0.0,
        samples=len(errors),
    )
    return {"measured": asdict(measured)}


def _set_error(bed: ErrorBed, precisions: Mapping[str, str]) -> dict[str, Any]:
    model = bed.quantizer.write(precisions).model
    runs = (bed.outputs(model), bed.half_outputs(model))
    drops = [drop for outputs in runs if (drop := bed.drop(outputs)) is not None]
    measured = SetError(
        precisions=dict(precisions),
        error=max(float(np.mean(bed.errors(outputs))) for outputs in runs),
        drop=max(drops, default=None),
    )
    return {"measured": asdict(measured)}


def _in_order(outputs: Mapping[str, NDArray[Any]], names: Sequence[str]) -> list[NDArray[Any]]:
    return [outputs[name] for name in names]
