"""The result of a benchmark as values, and as bench.json."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qedeploy.bench.attribution.attribution import TimedPart
from qedeploy.bench.attribution.correlation import Correlation, TimeModel
from qedeploy.bench.gates import TimingVerdict
from qedeploy.bench.measure.interleave import Ratio
from qedeploy.bench.measure.machine import Machine
from qedeploy.bench.prediction.prediction import Prediction
from qedeploy.bench.prediction.table_update import TableUpdate
from qedeploy.bench.report.surroundings import Surroundings
from qedeploy.errors import UserError
from qedeploy.files import json_text
from qedeploy.network.structure import Bits
from qedeploy.runtimes.runner import USUAL, NodeTime, RunnerDescription
from qedeploy.runtimes.sections import Section
from qedeploy.runtimes.timing import Summary, TimingProtocol
from qedeploy.schema import read_json, validate

FORMAT = "qedeploy-bench/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """The file that was measured. `profile` is None where the file does not say what it was exported for."""

    name: str
    sha256: str
    size_bytes: int
    profile: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """BitOps of a whole query at nominal and at executed widths, classifier included."""

    nominal_bitops: float
    executed_bitops: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedModel:
    """A model as timed in alternation with others. `ratio` is the measured model's latency over this one's.

    `withheld` says why the ratio says nothing, "" where it does: what shows results shows no such ratio.
    `doubt` says where its integers are not multiplied exactly on this machine, "" where they are.
    """

    name: str
    summary: Summary
    totals: Totals | None = None
    ratio: Ratio | None = None
    withheld: str = ""
    doubt: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRow:
    """One layer: what it is estimated to cost, and the time it usually took per query in seconds.

    Estimates are None where the file says nothing of its structure. `rate` is executed BitOps per second, `modelled`
    the time model's time. `nodes` are the types of the nodes that ran for it. `seconds` and what follows from them are
    None where nobody can tell the layer's own time. Layers that ran together have a row of their own before the first
    of them: `layers` are their names, its figures sums.
    """

    name: str
    seconds: float | None
    share: float | None
    nodes: tuple[str, ...]
    kind: str | None = None
    lowering: str | None = None
    nominal: Bits | None = None
    executed: Bits | None = None
    macs: int | None = None
    nominal_bitops: float | None = None
    executed_bitops: float | None = None
    bytes_moved: float | None = None
    rate: float | None = None
    modelled: float | None = None
    layers: tuple[str, ...] = ()


def layers_among(rows: Sequence[LayerRow]) -> int:
    """Return how many of `rows` are layers, those of layers that ran together left out."""
    return sum(not row.layers for row in rows)


def longest_layers(rows: Sequence[LayerRow], most: int = 5) -> tuple[LayerRow, ...]:
    """Return the layers that take longest, at most so many; those whose time nobody can tell are left out."""
    timed = [row for row in rows if row.seconds]
    return tuple(sorted(timed, key=lambda row: row.seconds or 0.0, reverse=True)[:most])


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfiledPass:
    """The separate pass with the profiler on: its layers and overheads sum to `whole` (mean seconds per query).

    `nodes` are what ran, in execution order and under the runtime's names: what the parts are made of. `statistic` and
    `beside` are those of the ProfiledRun.
    """

    layers: tuple[LayerRow, ...]
    overheads: tuple[TimedPart, ...]
    nodes: tuple[NodeTime, ...]
    whole: float
    queries: int
    statistic: str = USUAL
    beside: tuple[str, float] | None = None

    @property
    def layer_seconds(self) -> float:
        """Return the time of all layers."""
        return sum(row.seconds or 0.0 for row in self.layers)

    @property
    def untimed(self) -> tuple[str, ...]:
        """Return the layers whose own time nobody can tell."""
        return tuple(row.name for row in self.layers if row.seconds is None)

    @property
    def total(self) -> float:
        """Return the sum of all layers and overheads in seconds."""
        return self.layer_seconds + sum(part.seconds for part in self.overheads)


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchResult:
    """Everything a benchmark found. `compared` is empty, or starts with the measured model itself.

    `sections` are what only the runtime can tell, as tables, and `engine` the same as data in the runtime's own form,
    None where it has none. `prediction` is None where no latency table is of the model's profile, `table_update` where
    none was asked for. `surroundings` are what was not measured here.
    """

    model: ModelFile
    created: str
    machine: Machine
    runner: RunnerDescription
    protocol: TimingProtocol
    seed: int
    variation_limit: float
    summary: Summary
    compared: tuple[ComparedModel, ...]
    profiled: ProfiledPass
    totals: Totals | None
    correlations: tuple[Correlation, ...]
    time_model: TimeModel | None
    findings: tuple[str, ...]
    warnings: tuple[str, ...]
    verdicts: tuple[TimingVerdict, ...]
    engine: Mapping[str, Any] | None = None
    prediction: Prediction | None = None
    table_update: TableUpdate | None = None
    sections: tuple[Section, ...] = ()
    surroundings: Surroundings = Surroundings()

    @property
    def judged(self) -> tuple[TimingVerdict | TableUpdate, ...]:
        """Return all that was decided once the measurement was there."""
        return self.verdicts if self.table_update is None else (*self.verdicts, self.table_update)

    @property
    def stable(self) -> bool:
        """Return whether the headline run varied no more than allowed."""
        return self.summary.stable(self.variation_limit)


def to_document(result: BenchResult) -> dict[str, Any]:
    """Return `result` as JSON-ready data; times in seconds."""
    return {"format": FORMAT, **dataclasses.asdict(result)}


def to_text(result: BenchResult) -> str:
    """Return the text of bench.json."""
    return json_text(to_document(result))


def read_result(path: Path) -> BenchResult:
    """Return the result in a bench.json; raises UserError for another form, or naming every field that is wrong."""
    from pydantic import TypeAdapter

    data = read_json(path)
    found = data.get("format") if isinstance(data, dict) else None
    if found != FORMAT:
        raise UserError(f"{path}: format: expected {FORMAT}, found {found!r}: expected what qedeploy bench writes")
    del data["format"]
    return validate(TypeAdapter(BenchResult), data, path)
