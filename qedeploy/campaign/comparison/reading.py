"""What the files of a run say: the time of its model, what that very file gets right, the score, the training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qedeploy.errors import UserError
from qedeploy.schema import read_json

BENCH, ACCURACY, SEARCH, TRAIN = "bench.json", "accuracy.json", "search.json", "train.json"
_FORMATS = {
    BENCH: "qedeploy-bench/",
    ACCURACY: "qedeploy-accuracy/",
    SEARCH: "qedeploy-search/",
    TRAIN: "qedeploy-train/",
}
_TRAINED = "trained"
"""Where `qedeploy run` keeps what it trained, below its folder."""

_BROKEN = (AttributeError, KeyError, TypeError, ValueError)
"""What reading a document of another form can end in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """Under which a model was timed: times under others are other times."""

    device: str
    runtime: str
    version: str
    threads: int
    batch: int

    @property
    def place(self) -> tuple[str, str, int, int]:
        """What must be the same for two times to be compared: all but the runtime's version."""
        return self.device, self.runtime, self.threads, self.batch

    def __str__(self) -> str:
        return f"{self.runtime} on {self.device}, {self.threads} thread(s), batch {self.batch}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """The median latency of a model in seconds; `stable` says whether it varied no more than allowed."""

    model: str
    sha256: str
    profile: str | None
    seconds: float
    stable: bool
    conditions: Conditions


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What a file gets right: top-1 with its 95 % interval, of so many images of the data of this fingerprint."""

    model: str
    sha256: str
    runtime: str
    top1: float
    low: float
    high: float
    images: int
    data: str
    fingerprint: str

    @property
    def place(self) -> tuple[str, int]:
        """What must be the same for two accuracies to be compared."""
        return self.fingerprint, self.images


@dataclass(frozen=True, slots=True, kw_only=True)
class InTraining:
    """What the trained network got right of so many test pictures, by PyTorch: not what the timed file does."""

    top1: float
    images: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A folder with what is known of it. `faults` are sentences on documents that could not be read."""

    folder: Path
    timed: Timed | None
    counted: Counted | None
    score: float | None
    trained: InTraining | None
    faults: tuple[str, ...]

    @property
    def same_file(self) -> bool:
        """Whether time and accuracy are of the very same file."""
        return self.timed is not None and self.counted is not None and self.timed.sha256 == self.counted.sha256


def read_runs(paths: Iterable[Path]) -> tuple[Run, ...]:
    """Return the runs in folders: of each that holds documents, else of those right below it. Each once, in order.

    Files are passed over, since a pattern such as runs/* finds them too. Raises UserError for what does not exist, and
    where no run is found.
    """
    asked = tuple(paths)
    found: dict[Path, Run] = {}
    for path in asked:
        if not path.exists():
            raise UserError(f"{path}: no such folder: expected one that `qedeploy run`, bench or evaluate wrote into")
        for folder in _run_folders(path):
            found.setdefault(folder.resolve(), _read(folder))
    if not found:
        raise UserError(
            f"{', '.join(map(str, asked[:3]))}: no run in there: expected folders with {BENCH}, {ACCURACY}, {SEARCH} "
            f"or {TRAIN}"
        )
    return tuple(found.values())


def _run_folders(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        return
    if any((path / name).is_file() for name in _FORMATS):
        yield path
        return
    for folder in sorted(path.iterdir()):
        if folder.is_dir() and any((folder / name).is_file() for name in _FORMATS):
            yield folder


def _read(folder: Path) -> Run:
    faults: list[str] = []
    bench, accuracy, search = (_document(folder / name, faults) for name in (BENCH, ACCURACY, SEARCH))
    training = _document(folder / TRAIN, faults) or _document(folder / _TRAINED / TRAIN, faults)
    return Run(
        folder=folder,
        timed=_part(bench, folder / BENCH, _timed, faults),
        counted=_part(accuracy, folder / ACCURACY, _counted, faults),
        score=_part(search, folder / SEARCH, lambda document: float(document["score"]), faults),
        trained=_part(training, folder / TRAIN, _in_training, faults),
        faults=tuple(faults),
    )


def _document(path: Path, faults: list[str]) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        document = read_json(path)
    except UserError as error:
        faults.append(str(error))
        return None
    expected = _FORMATS[path.name]
    if not isinstance(document, dict) or not str(document.get("format", "")).startswith(expected):
        faults.append(f"{path}: expected {expected}1, which qedeploy writes, found another document")
        return None
    return document


def _part(document: dict[str, Any] | None, path: Path, read: Any, faults: list[str]) -> Any:
    if document is None:
        return None
    try:
        return read(document)
    except _BROKEN as error:
        faults.append(f"{path}: is not whole ({type(error).__name__}: {error}): write it again")
        return None


def _timed(document: dict[str, Any]) -> Timed:
    model, runner, summary = document["model"], document["runner"], document["summary"]
    device = str(runner["device"])
    return Timed(
        model=str(model["name"]),
        sha256=str(model["sha256"]),
        profile=model["profile"],
        seconds=float(summary["median"]),
        stable=float(summary["variation"]) <= float(document["variation_limit"]),
        conditions=Conditions(
            # A processor has no name of its own to a runtime, a GPU has.
            device=str(document["machine"]["cpu"]) if device == "CPU" else device,
            runtime=str(runner["runtime"]),
            version=str(runner["version"]),
            threads=int(runner["threads"]),
            batch=int(runner["batch"]),
        ),
    )


def _counted(document: dict[str, Any]) -> Counted:
    model, data = document["model"], document["data"]
    top1 = model["top1"]
    return Counted(
        model=str(model["file"]),
        sha256=str(model["sha256"]),
        runtime=str(model["runtime"]),
        top1=float(top1["value"]),
        low=float(top1["low"]),
        high=float(top1["high"]),
        images=int(top1["count"]),
        data=Path(str(data["path"])).name,
        fingerprint=str(data["fingerprint"]),
    )


def _in_training(document: dict[str, Any]) -> InTraining | None:
    result = document["result"]
    if result["test_top1"] is None:
        return None
    return InTraining(top1=float(result["test_top1"]), images=int(result["test_images"]))
