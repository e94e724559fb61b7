"""What an artefact gets right, on named images and by its own runtime; and how that compares with another's."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from qedeploy.errors import UserError
from qedeploy.model.image_settings import ImageSettings
from qedeploy.rulings import Verdict
from qedeploy.train.accuracy import Difference, Share, class_table, confusion, difference, top
from qedeploy.train.artefacts import EvaluatedModel, opened
from qedeploy.train.class_report import ClassAccuracy, ClassAnswers
from qedeploy.train.data import Subset, class_places, open_test_data, whole
from qedeploy.train.gates import TOP5_CLASSES, AccuracyGate, judge, require_classes, require_comparable
from qedeploy.train.predictions import Predictions, predictions
from qedeploy.train.preparation import Preparation
from qedeploy.train.source import ImageSource, fingerprint
from qedeploy.train.transforms import Normaliser

FORMAT = "qedeploy-accuracy/1"

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateOptions:
    """What a user can choose: `images` None takes all; `settings` None what the artefact was trained with."""

    images: int | None = None
    threads: int = 1
    workers: int = 0
    settings: ImageSettings | None = None
    strict: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedModel:
    """The accuracy of one artefact. `top5` is None where there are fewer than six classes."""

    path: Path
    sha256: str
    runtime: str
    top1: Share
    top5: Share | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluation:
    """What was found: of the artefact itself, by class, and against another.

    `images_known` says whether the artefact told how pictures are prepared; else ImageNet's way was taken.
    """

    judged: JudgedModel
    data: Path
    data_fingerprint: str
    classes: tuple[ClassAccuracy, ...]
    confusion: NDArray[np.int64]
    skipped: tuple[str, ...]
    images_known: bool
    against: JudgedModel | None
    difference: Difference | None
    verdicts: tuple[Verdict, ...]
    created: str

    @property
    def answers(self) -> ClassAnswers:
        """What was said of the images of each class."""
        return ClassAnswers.of(self.classes, self.confusion.tolist())


def evaluate(
    model: Path,
    data: Path,
    options: EvaluateOptions = EvaluateOptions(),
    *,
    against: Path | None = None,
    gates: Sequence[AccuracyGate] = (),
    progress: Progress = lambda _what, _done, _total: None,
) -> Evaluation:
    """Return the accuracy of `model` on the test pictures of `data`, also beside that of `against` on the same ones.

    Raises UserError for what cannot be read or does not fit, RequestError where a runtime cannot execute a file,
    MissingRuntimeError where it is not there.
    """
    require_comparable(gates, against is not None)
    source = open_test_data(data)
    subset = _chosen(source, options.images)
    with opened(model, threads=options.threads) as artefact:
        require_classes(gates, artefact.outputs)
        settings = options.settings or artefact.images
        found = answers(artefact, subset, settings, options, progress)
        judged, names = _judged(artefact, found), _names(artefact, settings, source)
    other = fallen = None
    if against is not None:
        with opened(against, threads=options.threads) as second:
            theirs = answers(second, subset, options.settings or second.images or settings, options, progress)
            other = _judged(second, theirs)
        if not np.array_equal(found.labels, theirs.labels):
            raise UserError(f"{against}: its classes are other ones than those of {model}: nothing can be compared")
        fallen = difference(found, theirs)
    counts = confusion(found, len(names))
    shares = {"top1": judged.top1, **({} if judged.top5 is None else {"top5": judged.top5})}
    return Evaluation(
        judged=judged,
        data=source.location,
        data_fingerprint=fingerprint(source),
        classes=class_table(counts, names),
        confusion=counts,
        skipped=found.skipped,
        images_known=settings is not None,
        against=other,
        difference=fallen,
        verdicts=tuple(judge(gate, shares, fallen) for gate in gates),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def to_document(evaluation: Evaluation) -> dict[str, Any]:
    """Return `evaluation` as JSON-ready data."""
    return {
        "format": FORMAT,
        "created": evaluation.created,
        "model": _artefact_document(evaluation.judged),
        "data": {
            "path": str(evaluation.data),
            "fingerprint": evaluation.data_fingerprint,
            "images": evaluation.judged.top1.count,
            "skipped": list(evaluation.skipped),
        },
        "classes": [dataclasses.asdict(one) for one in evaluation.classes],
        "confusion": evaluation.confusion.tolist(),
        "against": None if evaluation.against is None else _artefact_document(evaluation.against),
        "difference": None if evaluation.difference is None else dataclasses.asdict(evaluation.difference),
        "verdicts": [dataclasses.asdict(verdict) for verdict in evaluation.verdicts],
    }


def _artefact_document(judged: JudgedModel) -> dict[str, Any]:
    return {
        "file": judged.path.name,
        "sha256": judged.sha256,
        "runtime": judged.runtime,
        "top1": _share_document(judged.top1),
        "top5": None if judged.top5 is None else _share_document(judged.top5),
    }


def _share_document(share: Share) -> dict[str, Any]:
    return {"value": share.value, **dataclasses.asdict(share)}


def _chosen(source: ImageSource, images: int | None) -> Subset:
    count = len(source.labels)
    if images is None or images >= count:
        return whole(source)
    return Subset(source=source, places=np.linspace(0, count - 1, images).round().astype(np.int64))


def answers(
    artefact: EvaluatedModel,
    subset: Subset,
    settings: ImageSettings | None,
    options: EvaluateOptions,
    progress: Progress,
) -> Predictions:
    """Return what an artefact says of pictures that are prepared by `settings`; raises as `evaluate`."""
    settings = settings or ImageSettings()
    preparation = Preparation(
        channels=artefact.channels,
        size=artefact.size,
        crop_share=settings.crop_share,
        class_places=class_places(subset.source, settings.classes, artefact.outputs),
        strict=options.strict,
    )
    mean, deviation = settings.per_channel(artefact.channels)
    return predictions(
        artefact.answer,
        subset,
        preparation,
        Normaliser.of(artefact.channels, mean, deviation, torch.device("cpu")),
        batch=artefact.batch,
        workers=options.workers,
        progress=lambda done, total: progress(artefact.path.name, done, total),
    )


def _judged(artefact: EvaluatedModel, found: Predictions) -> JudgedModel:
    return JudgedModel(
        path=artefact.path,
        sha256=artefact.sha256,
        runtime=artefact.runtime,
        top1=top(found, 1),
        top5=top(found, 5) if artefact.outputs > TOP5_CLASSES else None,
    )


def _names(artefact: EvaluatedModel, settings: ImageSettings | None, source: ImageSource) -> tuple[str, ...]:
    known = settings.classes if settings is not None and settings.classes else source.classes
    return known if len(known) == artefact.outputs else tuple(map(str, range(artefact.outputs)))
