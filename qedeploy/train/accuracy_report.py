"""accuracy.json and accuracy.html: an evaluation to be read by programs and by people."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from qedeploy.files import write_json, write_text
from qedeploy.printable import plain_label
from qedeploy.publishing import together
from qedeploy.train.accuracy import ClassAccuracy
from qedeploy.train.evaluate import Evaluation, to_document

if TYPE_CHECKING:
    from rich.console import Console

DOCUMENT, REPORT = "accuracy.json", "accuracy.html"

_TEMPLATES = Path(__file__).parent / "templates"
_SHOWN_CLASSES = 100
_NAMED_CLASSES = 30
"""Classes up to which the axes of the matrix carry their names, and its fields their counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenAccuracy:
    """What an evaluation left behind."""

    document: Path
    report: Path


def write_evaluation(evaluation: Evaluation, folder: Path) -> WrittenAccuracy:
    """Write both files into `folder`; raises UserError where it does not take them."""
    with together(folder):
        return WrittenAccuracy(
            document=write_json(folder / DOCUMENT, to_document(evaluation)),
            report=write_text(folder / REPORT, render(evaluation)),
        )


def render(evaluation: Evaluation) -> str:
    """Return the text of accuracy.html."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined)
    rows = evaluation.classes
    heading = "Classes"
    if len(rows) > _SHOWN_CLASSES:
        rows = tuple(sorted(rows, key=_share_right)[:_SHOWN_CLASSES])
        heading = f"The {_SHOWN_CLASSES} worst of {len(evaluation.classes)} classes"
    return environment.get_template(REPORT).render(
        found=evaluation, judged=evaluation.judged, rows=rows, heading=heading, matrix=confusion_svg(evaluation)
    )


def confusion_svg(evaluation: Evaluation) -> str:
    """Return the confusion matrix as an SVG element: rows are the classes, columns what they were said to be."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    counts = evaluation.confusion
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [plain_label(one.name) for one in evaluation.classes]
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "qedeploy", "font.size": 9}):
        figure = Figure(figsize=(7.0, 6.2), layout="constrained")
        axes = figure.add_subplot()
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        figure.colorbar(image, ax=axes, label="share of the class", shrink=0.8)
        axes.set_xlabel("said to be")
        axes.set_ylabel("is")
        if len(names) <= _NAMED_CLASSES:
            axes.set_xticks(range(len(names)), names, rotation=60, ha="right")
            axes.set_yticks(range(len(names)), names)
            for row, column in np.argwhere(counts > 0):
                colour = "white" if shares[row, column] > 0.5 else "black"
                axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour, fontsize=7)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None})
    text = stream.getvalue()
    return text[text.index("<svg") :]


def print_evaluation(console: Console, evaluation: Evaluation) -> None:
    """Print the figures of an evaluation, each with its number of images and its source."""
    judged = evaluation.judged
    console.print(f"top-1 {judged.top1}; {judged.path.name} by {judged.runtime}", highlight=False, soft_wrap=True)
    if judged.top5 is not None:
        console.print(f"top-5 {judged.top5}", highlight=False)
    worst = sorted((one for one in evaluation.classes if one.count), key=_share_right)[:3]
    named = ", ".join(f"{one.name} {_share_right(one):.1%} of {one.count}" for one in worst)
    console.print(f"worst classes: {named}", highlight=False, markup=False)
    if evaluation.difference is not None and evaluation.against is not None:
        console.print(
            evaluation.difference.against(evaluation.against.path.name),
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    for warning in warnings(evaluation):
        console.print(f"warning: {warning}", style="yellow", markup=False)
    for verdict in evaluation.verdicts:
        console.print(verdict.sentence, highlight=False, markup=False)


def warnings(evaluation: Evaluation) -> list[str]:
    """Return what makes the figures less than they seem."""
    found = []
    if evaluation.skipped:
        found.append(f"{len(evaluation.skipped)} pictures were left out: {evaluation.skipped[0]}")
    if not evaluation.images_known:
        found.append(
            f"{evaluation.judged.path.name} does not say how pictures were prepared in training: ImageNet's mean, "
            "deviation and crop are assumed; give others with --mean and --deviation"
        )
    return found


def _share_right(one: ClassAccuracy) -> float:
    return one.right / max(one.count, 1)
