"""What a latency table predicts for a model, before it is measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qedeploy.bench.measure.machine import Machine
from qedeploy.errors import UserError
from qedeploy.latency.predictor import LatencyModel
from qedeploy.latency.shapes import shapes_of
from qedeploy.latency.store import kept_tables, load_table
from qedeploy.latency.table import LatencyTable, Shape, Source
from qedeploy.network.graph import Graph
from qedeploy.profiles.loader import load_profile, profile_names
from qedeploy.profiles.profile import Profile
from qedeploy.runtimes.runner import RunnerDescription

if TYPE_CHECKING:
    from qedeploy.qdq.metadata import ModelMetadata


@dataclass(frozen=True, slots=True, kw_only=True)
class TableOptions:
    """Which latency table predicts: `file`, or else the one kept for this machine; `update` feeds the run back to it.

    `profile` is the TOML file of the model's profile, where it is not one that ships.
    """

    file: Path | None = None
    profile: str | None = None
    update: bool = False

    @property
    def asked_for(self) -> bool:
        """Whether a prediction was asked for, so that going without one would be an error."""
        return self.update or self.file is not None or self.profile is not None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Expectation:
    """A table and the seconds that it predicts by layer, the classifier's with what every query pays.

    `differences` say why the table does not apply to this run: another machine, version or number of threads. `beyond`
    are the layers with more or fewer channels or pixels than any point of their kind.
    """

    path: Path
    table: LatencyTable
    profile: Profile
    graph: Graph
    layers: Mapping[str, float]
    differences: tuple[str, ...]
    beyond: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """Predicted seconds of a query."""
        return sum(self.layers.values())


def expect(
    metadata: ModelMetadata | None, options: TableOptions, machine: Machine, runner: RunnerDescription
) -> tuple[Expectation | None, str]:
    """Return what is predicted for a model on `machine`, or None and the reason where there was a table that failed.

    Raises UserError or RequestError where a prediction was asked for and cannot be made.
    """
    try:
        return _expect(metadata, options, machine, runner), ""
    except UserError as error:
        if options.asked_for:
            raise
        return None, str(error)


def differences(table: LatencyTable, machine: Machine, runner: RunnerDescription) -> tuple[str, ...]:
    """Return how the circumstances of `table` differ from those of `runner` on `machine`."""
    if is_imported(table):
        return ("imported times, which may be from another machine",)
    pairs = _circumstances(table, machine, runner)
    return tuple(f"{theirs} instead of {ours}" for theirs, ours in pairs if theirs != ours)


def is_imported(table: LatencyTable) -> bool:
    """Return whether times of `table` come from another tool."""
    return any(point.source is Source.IMPORTED for point in table.points)


def _expect(
    metadata: ModelMetadata | None, options: TableOptions, machine: Machine, runner: RunnerDescription
) -> Expectation | None:
    if metadata is None:
        if options.asked_for:
            raise UserError(
                "the model carries no qedeploy metadata, which a prediction of its latency needs: export it again"
            )
        return None
    if options.file is None and not kept_tables(metadata.profile):
        if options.asked_for:
            raise UserError(
                f"expected a latency table of profile {metadata.profile}, found none: make one with "
                f"`qedeploy measure --profile {metadata.profile}`, or name one with --latency-table"
            )
        return None
    profile = _profile(metadata, options)
    path, table = _table(profile, options, machine, runner)
    return Expectation(
        path=path,
        table=table,
        profile=profile,
        graph=metadata.graph,
        layers=LatencyModel(table, profile).seconds_by_layer(metadata.graph),
        differences=differences(table, machine, runner),
        beyond=_beyond(table, metadata.graph),
    )


def _profile(metadata: ModelMetadata, options: TableOptions) -> Profile:
    if options.profile is None and metadata.profile not in profile_names():
        raise UserError(f"the model is of profile {metadata.profile!r}: name its TOML file with --profile")
    profile = load_profile(options.profile or metadata.profile)
    if profile.name != metadata.profile:
        raise UserError(f"--profile {options.profile}: expected the model's profile {metadata.profile}")
    return profile


def _table(
    profile: Profile, options: TableOptions, machine: Machine, runner: RunnerDescription
) -> tuple[Path, LatencyTable]:
    """Return the table that was named, or of those kept the one of this machine, or else the one measured last."""
    found = []
    for path in (options.file,) if options.file is not None else kept_tables(profile.name):
        loaded = load_table(profile, path)
        if loaded is not None:
            found.append((loaded[1], loaded[0]))
    return next((one for one in found if not differences(one[1], machine, runner)), found[0])


def _beyond(table: LatencyTable, graph: Graph) -> tuple[str, ...]:
    """Return the parts of `graph` that lie outside the box of the points of their kind, kernel and stride."""
    boxes: dict[tuple[object, ...], list[tuple[int, int, int]]] = {}
    for point in table.points:
        boxes.setdefault(_kind(point.shape), []).append(_extent(point.shape))
    found = []
    for name, shape in shapes_of(graph, table.bottleneck_multiple).items():
        extents = zip(_extent(shape), zip(*boxes.get(_kind(shape), []), strict=True), strict=False)
        if any(not min(known) <= own <= max(known) for own, known in extents):
            found.append(name)
    return tuple(found)


def _kind(shape: Shape) -> tuple[object, ...]:
    return shape.part, shape.kernel, shape.stride


def _extent(shape: Shape) -> tuple[int, int, int]:
    return shape.in_channels, shape.out_channels, shape.size


def _circumstances(table: LatencyTable, machine: Machine, runner: RunnerDescription) -> Iterator[tuple[str, str]]:
    """Yield what must be the same in the table and in this run: the table's value, then the run's."""
    known = table.runtime
    yield f"{known.get('name')} {known.get('version')}", f"{runner.runtime} {runner.version}"
    if runner.on_cpu:
        yield (
            _processor(table.machine.get("cpu"), table.machine.get("instruction_sets")),
            _processor(machine.cpu, machine.instruction_sets),
        )
        yield _threads(table.settings.get("threads")), _threads(runner.threads)
    else:
        yield str(known.get("device")), runner.device
    yield f"batch {table.settings.get('batch', 1)}", f"batch {runner.batch}"


def _processor(name: object, instruction_sets: object) -> str:
    known = instruction_sets if isinstance(instruction_sets, list | tuple) else ()
    return f"{name} with {' '.join(map(str, known)) or 'no instructions for 8 bits that are known'}"


def _threads(count: object) -> str:
    return f"{count} thread{'' if count == 1 else 's'}"
