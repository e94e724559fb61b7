"""What a latency table predicted of a run, against what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from qedeploy.bench.attribution.profiler_overhead import seconds_by_part, without_overhead
from qedeploy.bench.prediction.expected import Expectation, is_imported
from qedeploy.network.graph import Graph
from qedeploy.network.shortcuts import shortcuts
from qedeploy.runtimes.node_names import NodeNames
from qedeploy.runtimes.runner import NodeTime, ProfiledRun
from qedeploy.words import counted, listed

_OTHER_PACE = 0.03
"""Share by which the machine may be slower or faster than with the table, before the report says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictingTable:
    """The table: its file's name, what it was measured on, with and when (ISO 8601), and how well it fitted then.

    `age` is in days, None where the table has no date; `error` is the calibration's on networks that it was not
    fitted to, a share.
    """

    file: str
    device: str
    runtime: str
    threads: int | None
    date: str
    age: float | None
    imported: bool
    points: int
    unstable: int
    doubt: str
    competition: str = ""
    networks: int
    error: float | None

    def __str__(self) -> str:
        threads = "" if self.threads is None else counted(self.threads, "thread")
        origin = "imported" if self.imported else self.runtime
        return f"{self.file} ({', '.join(word for word in (self.device, origin, threads, self._when()) if word)})"

    def _when(self) -> str:
        if self.age is None:
            return ""
        days = int(self.age)
        since = f"{counted(days, 'day')} old" if days > 0 else "of today"
        return f"{self.date[:10]}, {since}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedLayer:
    """A layer's seconds per query, predicted and measured; a shortcut is part of its block's last layer."""

    name: str
    predicted: float
    measured: float

    @property
    def error(self) -> float | None:
        """Error of the prediction as a share of what was measured; None for a layer without a node of its own."""
        return self.predicted / self.measured - 1 if self.measured > 0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """Seconds of a query as predicted by `table` and as measured, in all and layer by layer in execution order.

    `pace` is how many times as long as with the table the reference graph took beside this run, None where that is
    unknown. `differences` say why the table does not apply to this run, so that its figures do not predict it. `beyond`
    are the parts that lie outside its points.
    """

    table: PredictingTable
    predicted: float
    measured: float
    pace: float | None
    layers: tuple[PredictedLayer, ...]
    differences: tuple[str, ...]
    beyond: tuple[str, ...] = ()

    @property
    def error(self) -> float:
        """Error of the prediction as a share of what was measured."""
        return self.predicted / self.measured - 1

    @property
    def error_at_pace(self) -> float | None:
        """Error of the prediction for a machine as fast as this one was during the run."""
        return None if self.pace is None else self.predicted * self.pace / self.measured - 1

    @property
    def layer_error(self) -> float | None:
        """Mean absolute error of the layers as a share of their mean time; None where none has a time of its own."""
        missed = sum(abs(layer.predicted - layer.measured) for layer in self.layers)
        measured = sum(layer.measured for layer in self.layers)
        return missed / measured if measured > 0 else None

    def worst(self, count: int = 5) -> tuple[PredictedLayer, ...]:
        """Return the layers whose prediction is off by the most seconds."""
        return tuple(sorted(self.layers, key=lambda layer: -abs(layer.predicted - layer.measured))[:count])


def compare(expectation: Expectation, profile: ProfiledRun, median: float, pace: float | None) -> Prediction:
    """Return `expectation` against a run whose queries took `median` seconds, `profile` being its profiled pass."""
    measured = measured_layers(without_overhead(profile, median), expectation.graph, profile.names)
    return Prediction(
        table=_described(expectation),
        predicted=expectation.seconds,
        measured=median,
        pace=pace,
        layers=tuple(
            PredictedLayer(name=name, predicted=predicted, measured=measured[name])
            for name, predicted in expectation.layers.items()
            # Layers that ran together have no measured times of their own to compare with the prediction.
            if not any(name in node.layers for node in profile.nodes)
        ),
        differences=expectation.differences,
        beyond=expectation.beyond,
    )


def measured_layers(nodes: tuple[NodeTime, ...], graph: Graph, names: NodeNames) -> Mapping[str, float]:
    """Return the seconds of each layer, those of a shortcut in the layer before it, as a latency model counts them."""
    layers = {cut.name: cut.layer.name for cut in shortcuts(graph)}
    found: dict[str, float] = {}
    for name, seconds in seconds_by_part(nodes, graph, names).items():
        layer = layers.get(name, name)
        found[layer] = found.get(layer, 0.0) + seconds
    return found


def prediction_findings(prediction: Prediction | None) -> tuple[str, ...]:
    """Return how well the table predicted the run, where it applies to this machine."""
    if prediction is None or prediction.differences:
        return ()
    by_layer = prediction.layer_error
    by_layer_said = "" if by_layer is None else f", and {by_layer:.1%} of the mean layer's time layer by layer"
    found = (
        f"The latency table predicted {prediction.predicted * 1e3:.3f} ms, {prediction.measured * 1e3:.3f} ms were "
        f"measured: an error of {prediction.error:+.1%}{by_layer_said}."
    )
    pace, error = prediction.pace, prediction.error_at_pace
    if pace is None or error is None or abs(pace - 1) < _OTHER_PACE:
        return (found,)
    return (
        f"{found} The reference graph took {pace:.2f}x as long as with the table: at that pace the error "
        f"is {error:+.1%}.",
    )


def prediction_warnings(prediction: Prediction | None, problem: str) -> tuple[str, ...]:
    """Return why there is no prediction of this run, where there is a latency table; `problem` is what failed."""
    if problem:
        return (f"No latency is predicted: {problem}.",)
    if prediction is None:
        return ()
    found = []
    if prediction.differences:
        found.append(
            f"The latency table {prediction.table.file} does not apply to this run: it has "
            f"{'; '.join(prediction.differences)}. Its figures do not predict this run."
        )
    if prediction.table.doubt:
        found.append(
            f"The latency table {prediction.table.file} is not to be relied on: {prediction.table.doubt}. `qedeploy "
            "measure --fresh` on a quiet machine makes a better one."
        )
    elif prediction.table.competition:
        found.append(f"Of the latency table {prediction.table.file}: {prediction.table.competition}.")
    if prediction.beyond:
        found.append(
            f"The latency table has no points as small or as large as {counted(len(prediction.beyond), 'part')} "
            f"of the network ({listed(prediction.beyond)}): what it predicts there is extrapolated."
        )
    return tuple(found)


def _described(expectation: Expectation) -> PredictingTable:
    table = expectation.table
    threads = table.settings.get("threads")
    return PredictingTable(
        file=expectation.path.name,
        device=table.device,
        runtime=" ".join(str(table.runtime[key]) for key in ("name", "version") if key in table.runtime),
        threads=threads if isinstance(threads, int) else None,
        date=table.date,
        age=_age(table.date),
        imported=is_imported(table),
        points=len(table.points),
        unstable=table.unstable,
        doubt=table.doubt,
        competition=table.competition,
        networks=len(table.networks),
        error=table.calibration.error,
    )


def _age(date: str) -> float | None:
    try:
        then = datetime.fromisoformat(date)
    except ValueError:
        return None
    then = then if then.tzinfo is not None else then.replace(tzinfo=UTC)
    return (datetime.now(UTC) - then).total_seconds() / 86400
