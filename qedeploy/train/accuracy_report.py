"""accuracy.json and accuracy.html: an evaluation to be read by programs and by people."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qedeploy.files import write_json, write_text
from qedeploy.publishing import together
from qedeploy.train.class_report import class_section
from qedeploy.train.evaluate import Evaluation, to_document

if TYPE_CHECKING:
    from rich.console import Console

DOCUMENT, REPORT = "accuracy.json", "accuracy.html"

_TEMPLATES = Path(__file__).parent / "templates"


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
    return environment.get_template(REPORT).render(
        found=evaluation, judged=evaluation.judged, classes=class_section(evaluation.answers)
    )


def print_evaluation(console: Console, evaluation: Evaluation) -> None:
    """Print the figures of an evaluation, each with its number of images and its source."""
    judged = evaluation.judged
    console.print(f"top-1 {judged.top1}; {judged.path.name} by {judged.runtime}", highlight=False, soft_wrap=True)
    if judged.top5 is not None:
        console.print(f"top-5 {judged.top5}", highlight=False)
    worst = sorted((one for one in evaluation.classes if one.count), key=lambda one: one.share)[:3]
    named = ", ".join(f"{one.name} {one.share:.1%} of {one.count}" for one in worst)
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
