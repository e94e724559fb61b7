"""Feeding a run back to the latency table that predicted it: its layers become points, itself a network."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from qedeploy.bench.attribution.profiler_overhead import seconds_by_part, without_overhead
from qedeploy.bench.measure.interleave import ROUNDS
from qedeploy.bench.prediction.expected import Expectation, is_imported
from qedeploy.errors import RequestError
from qedeploy.folder_lock import in_turn
from qedeploy.latency.fit import fit_calibration
from qedeploy.latency.predictor import LatencyModel
from qedeploy.latency.shapes import shapes_of
from qedeploy.latency.table import (
    Calibration,
    LatencyTable,
    NetworkPoint,
    Shape,
    Source,
    TablePoint,
    read_table,
    spread,
    write_table,
)
from qedeploy.network.structure import Structure
from qedeploy.network.structure_file import from_document, to_document
from qedeploy.rulings import Ruling
from qedeploy.runtimes.runner import ProfiledRun
from qedeploy.runtimes.timing import Samples, summarize
from qedeploy.words import listed

_FEWEST_QUERIES = 100
"""Queries below which a run is too short to update a table."""

_LEAST_SHARE = 0.1
"""The least share of a part's time that is its own, whatever the calibration says of its weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableUpdate:
    """What became of an update.

    `replaced` points had the shape of a layer already, `added` had not; `networks` are those of the calibration now.
    `before` and `after` are seconds of the network as the table predicts it, `measured` those that it took at the
    table's pace; None where the update is withheld.
    """

    outcome: Ruling
    sentence: str
    replaced: int = 0
    added: int = 0
    networks: int = 0
    before: float | None = None
    after: float | None = None
    measured: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What a run teaches: its samples, its profiled pass, and the machine's pace against the table's (1 the same)."""

    samples: Samples
    profile: ProfiledRun
    pace: float
    variation_limit: float


def require_updatable(expectation: Expectation) -> None:
    """Raise RequestError where a run of this machine cannot be added to the table."""
    if is_imported(expectation.table):
        raise RequestError(
            f"--update-table: {expectation.path} holds imported times, which no run is added to: measure a table with "
            f"`qedeploy measure --profile {expectation.profile.name}`"
        )
    if expectation.differences:
        raise RequestError(
            f"--update-table: the latency table {expectation.path} does not apply to this run, it has "
            f"{'; '.join(expectation.differences)}: run as it was measured, or measure a new table"
        )
    _structure(expectation)


def update_table(expectation: Expectation, lesson: Lesson) -> TableUpdate:
    """Add what a run measured to its table's file, whole or not at all; withheld where the run is unsure."""
    doubt = _doubt(lesson)
    if doubt:
        sentence = f"{expectation.path.name} was not updated: {doubt}"
        return TableUpdate(outcome=Ruling.WITHHELD, sentence=sentence)
    profile, graph = expectation.profile, expectation.graph
    with in_turn(expectation.path):
        # The file may have gained points while the model ran.
        table = read_table(expectation.path)
        taught = learn(table, expectation, lesson)
        write_table(expectation.path, taught)
    known = {point.shape for point in table.points}
    shapes = {point.shape for point in taught.points if point.source is Source.BENCH} & set(
        shapes_of(graph, table.bottleneck_multiple).values()
    )
    before, after = (LatencyModel(each, profile).seconds(graph) for each in (table, taught))
    measured = float(np.median(lesson.samples.latency)) / lesson.pace
    return TableUpdate(
        outcome=Ruling.PASSED,
        sentence=(
            f"updated {expectation.path.name}: {len(shapes & known)} points replaced, {len(shapes - known)} added, "
            f"{len(taught.networks)} networks in its calibration; predicted {before * 1e3:.3f} ms before, "
            f"{after * 1e3:.3f} ms now, {measured * 1e3:.3f} ms measured at the table's pace"
        ),
        replaced=len(shapes & known),
        added=len(shapes - known),
        networks=len(taught.networks),
        before=before,
        after=after,
        measured=measured,
    )


def learn(table: LatencyTable, expectation: Expectation, lesson: Lesson) -> LatencyTable:
    """Return `table` with the run's layers as points and the run as a network of its calibration.

    Times become those of the pace that the table was measured at. Points are of single parts, so what the calibration
    adds to them in a network is subtracted.
    """
    profile, graph, structure = expectation.profile, expectation.graph, _structure(expectation)
    rounds = [float(np.median(part)) for part in np.array_split(lesson.samples.latency, ROUNDS)]
    seconds = float(np.median(lesson.samples.latency)) / lesson.pace
    network = NetworkPoint(structure=to_document(structure), seconds=seconds, spread=spread(rounds), rounds=len(rounds))
    others = tuple(one for one in table.networks if from_document(one.structure, expectation.path) != structure)
    fixed = table.calibration.constant * lesson.pace
    nodes = without_overhead(lesson.profile, float(np.median(lesson.samples.latency)) - fixed)
    in_network = {
        name: time / lesson.pace for name, time in seconds_by_part(nodes, graph, lesson.profile.names).items()
    }
    parts = _alone(in_network, table, expectation)
    points = _points(parts, shapes_of(graph, table.bottleneck_multiple), network)
    return fit_calibration(dataclasses.replace(table.with_points(points), networks=(*others, network)), profile)


def _structure(expectation: Expectation) -> Structure:
    """Return the network's Structure, by which a table keeps networks; raises RequestError where it has none."""
    if expectation.graph.structure is None:
        raise RequestError(
            "--update-table: a latency table keeps networks of search spaces; this model is not one: measure without it"
        )
    return expectation.graph.structure


def _doubt(lesson: Lesson) -> str:
    summary = summarize(lesson.samples)
    if summary.queries < _FEWEST_QUERIES:
        return f"{summary.queries} queries are too few, expected {_FEWEST_QUERIES}: measure longer with --duration"
    if not summary.stable(lesson.variation_limit):
        return (
            f"latency varies by {summary.variation:.1%}, over {lesson.variation_limit:.1%}: quiet the machine, or "
            "allow more with --max-variation"
        )
    together = [name for node in lesson.profile.nodes for name in node.layers]
    if together:
        return f"the runtime computes {listed(together)} together, so that no layer has a time of its own"
    return ""


def _alone(parts: Mapping[str, float], table: LatencyTable, expectation: Expectation) -> dict[str, float]:
    """Return the seconds of each part without what a network adds to it by the table's calibration."""
    calibration = table.calibration
    per_byte = Calibration(scale=0.0, seconds_per_weight_byte=1.0)
    weight_bytes = LatencyModel(dataclasses.replace(table, calibration=per_byte), expectation.profile).seconds_by_layer(
        expectation.graph
    )
    shapes = shapes_of(expectation.graph, table.bottleneck_multiple)
    return {
        name: max(time - calibration.seconds_per_weight_byte * weight_bytes.get(name, 0.0), _LEAST_SHARE * time)
        # A scale of zero says nothing about the part.
        / ((calibration.scale_of(shapes[name].part) if name in shapes else 0.0) or 1.0)
        for name, time in parts.items()
    }


def _points(parts: Mapping[str, float], shapes: Mapping[str, Shape], network: NetworkPoint) -> list[TablePoint]:
    """Return a point for each shape: the median of the layers that have it; none for what ran in no node."""
    times: dict[Shape, list[float]] = {}
    for name, shape in shapes.items():
        if parts[name] > 0:
            times.setdefault(shape, []).append(parts[name])
    return [
        TablePoint(
            shape=shape,
            seconds=float(np.median(found)),
            spread=max(network.spread, spread(found)),
            rounds=network.rounds * len(found),
            source=Source.BENCH,
        )
        for shape, found in times.items()
    ]
