"""Which runs can be set beside each other, which of them nothing beats in both, and what the others lack."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qedeploy.campaign.comparison.reading import Conditions, Run
from qedeploy.runtimes.registry import runtimes

_DATA = "DIR"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedRun:
    """A run with time and accuracy of one file. `best` says that no other of its group is as fast and as accurate."""

    run: Run
    best: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Runs timed in the same place and counted on the same images, the fastest first."""

    conditions: Conditions
    versions: tuple[str, ...]
    data: str
    images: int
    runs: tuple[PlacedRun, ...]

    @property
    def title(self) -> str:
        """Where the group was timed, and what it was counted on."""
        return f"{self.conditions}; {self.images:,} images of {self.data}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lacking:
    """A run that cannot be placed: what is `missing`, and the `command` that gives it, if one does."""

    run: Run
    missing: str
    command: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunComparison:
    """All runs, in groups that may be compared, and those that cannot be placed."""

    groups: tuple[Group, ...]
    lacking: tuple[Lacking, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """What the tables do not say by themselves."""
        found = []
        if len(self.groups) > 1:
            found.append(
                f"{len(self.groups)} groups: another device, runtime, number of threads, batch or set of images makes "
                "figures that cannot be compared, and each group has a front of its own"
            )
        for group in self.groups:
            if len(group.versions) > 1:
                found.append(f"{group.title}: timed with versions {' and '.join(group.versions)} of the runtime")
            shaky = [
                str(placed.run.folder) for placed in group.runs if placed.run.timed and not placed.run.timed.stable
            ]
            if shaky:
                found.append(f"times that varied more than allowed: {', '.join(shaky)}")
        found += [fault for run in self.runs for fault in run.faults]
        return tuple(found)

    @property
    def runs(self) -> tuple[Run, ...]:
        """Every run, placed or not."""
        return (*(one.run for group in self.groups for one in group.runs), *(one.run for one in self.lacking))


def compared(runs: Sequence[Run]) -> RunComparison:
    """Return the runs in groups, each with its front of accuracy against latency, the largest group first."""
    by_place: dict[object, list[Run]] = {}
    lacking = []
    for run in runs:
        if run.timed is None or run.counted is None or not run.same_file:
            lacking.append(_lacking(run))
        else:
            by_place.setdefault((run.timed.conditions.place, run.counted.place), []).append(run)
    groups = sorted((_group(found) for found in by_place.values()), key=lambda group: -len(group.runs))
    return RunComparison(groups=tuple(groups), lacking=tuple(lacking))


def _group(runs: Sequence[Run]) -> Group:
    ordered = sorted(runs, key=_figures)
    timed, counted = ordered[0].timed, ordered[0].counted
    assert timed is not None
    assert counted is not None
    versions = sorted({run.timed.conditions.version for run in ordered if run.timed is not None})
    return Group(
        conditions=timed.conditions,
        versions=tuple(versions),
        data=counted.data,
        images=counted.images,
        runs=tuple(PlacedRun(run=run, best=not any(_beats(other, run) for other in ordered)) for run in ordered),
    )


def _figures(run: Run) -> tuple[float, float]:
    assert run.timed is not None
    assert run.counted is not None
    return run.timed.seconds, -run.counted.top1


def _beats(first: Run, second: Run) -> bool:
    """Say whether `first` is no slower and no less accurate than `second`, and one of both better."""
    ours, theirs = _figures(first), _figures(second)
    return ours != theirs and all(one <= other for one, other in zip(ours, theirs, strict=True))


def _lacking(run: Run) -> Lacking:
    if run.timed is not None and run.counted is not None:
        missing = f"accuracy of {run.timed.model}: {run.counted.model} was counted, which is another file"
        return Lacking(run=run, missing=missing, command=_evaluate(run.folder / run.timed.model))
    parts = [name for name, found in (("time", run.timed), ("accuracy", run.counted)) if found is None]
    missing = " and ".join(parts)
    model = _model(run)
    if model is None:
        checkpoint = next(iter(sorted(run.folder.glob("*.pth"))), None)
        if checkpoint is None:
            return Lacking(run=run, missing=f"{missing}, and a model to find them of", command=None)
        return Lacking(run=run, missing=missing, command=_command("export", checkpoint))
    if run.timed is None and run.counted is None:
        return Lacking(run=run, missing=missing, command=f"{_command('bench', model)} --data {_DATA}")
    return Lacking(
        run=run, missing=missing, command=_command("bench", model) if run.timed is None else _evaluate(model)
    )


def _model(run: Run) -> Path | None:
    """Return the file that is to be timed or counted: the one that was already, else what a runtime takes."""
    for known in (run.timed and run.timed.model, run.counted and run.counted.model):
        if known and (run.folder / known).is_file() and not known.endswith(".pth"):
            return run.folder / known
    suffixes = [suffix for runtime in runtimes() for suffix in runtime.suffixes]
    files = [file for file in sorted(run.folder.iterdir()) if file.suffix.lower() in suffixes]
    # What a runtime built stands before the ONNX file that it was built from.
    return next(iter(sorted(files, key=lambda file: file.suffix.lower() == ".onnx")), None)


def _evaluate(model: Path) -> str:
    return f"{_command('evaluate', model)} --data {_DATA}"


def _command(name: str, path: Path) -> str:
    return f"qedeploy {name} {shlex.quote(str(path))}"
