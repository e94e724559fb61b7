"""The export's result for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from qedeploy.cli.verdicts import GOOD, print_verdict
from qedeploy.printable import one_line
from qedeploy.screen import line, warning_line
from qedeploy.words import counted

if TYPE_CHECKING:
    from qedeploy.export.compile import BuildOutcome
    from qedeploy.export.exporter import ExportResult
    from qedeploy.export.labelled import KeptAccuracy

_SHOWN = 3


def print_summary(result: ExportResult, console: Console) -> None:
    """Print what was written, how it was verified, and what the lowering changed."""
    plan, comparison = result.plan, result.comparison
    carried = sum(layer.executed != layer.bits for layer in plan.layers)
    console.print(
        Text.assemble(
            (one_line(str(result.model)), "bold"),
            f": {len(plan.layers)} layers for {plan.profile}, {carried} of them run wider than their bits; report in ",
            one_line(result.report.name),
        ),
        soft_wrap=True,
    )
    console.print(
        f"verified in {comparison.runtime} against PyTorch, {comparison.images} images: "
        f"{comparison.differing} of {comparison.values:,} integers differ, by one step at most; "
        f"logits by {comparison.logit_difference:.2g} of {comparison.logit_range:.3g}; "
        f"{_same_class(comparison.top1_agreement, comparison.images)}",
        soft_wrap=True,
    )
    if result.products is not None:
        console.print(f"integer products of this machine's kernels are {result.products.kernels}", soft_wrap=True)
    if result.execution is not None:
        console.print(line(str(result.execution)), soft_wrap=True)
    if result.exact is not None:
        console.print(
            f"the same graph in float32: {result.exact.differing} of {result.exact.values:,} integers differ; what "
            "differs above is float16 around the integers, which INT8 kernels do not round to",
            soft_wrap=True,
        )
    worst = sorted(
        (check for check in comparison.checks if check.quantized and check.differing),
        key=lambda check: check.differing / check.values,
        reverse=True,
    )
    if worst:
        table = Table("value", "values", "one step off", "share", title="most differences", title_justify="left")
        for check in worst[:_SHOWN]:
            table.add_row(
                check.name, f"{check.values:,}", str(check.differing), f"{check.differing / check.values:.4%}"
            )
        console.print(table)
    # All effects are of the same images.
    count = result.effects[0].images
    shown = f"same class,\nof {counted(count, 'image')}"
    table = Table("what the lowering changes", "places", "change of logits (RMS)", shown, title_justify="left")
    for effect in result.effects:
        same = str(round(effect.top1_agreement * count))
        table.add_row(effect.name, str(effect.places), f"{effect.logit_change:.2%}", same)
    console.print(table)
    if result.accuracy is None:
        console.print(
            f"accuracy is not known from {counted(count, 'image')}: --data DIR counts it on labelled pictures, before "
            "lowering and after",
            soft_wrap=True,
        )
    else:
        for sentence in _accuracy(result.accuracy, result.prepared.checkpoint.name, result.model.name):
            console.print(line(sentence), soft_wrap=True)
    for warning in result.warnings:
        console.print(warning_line(warning), soft_wrap=True)
    console.print(f"{result.seconds:.1f} s")


def print_export_verdict(result: ExportResult, console: Console) -> None:
    """Print the answer of an export: that the file computes what PyTorch does, and how much of it at its own widths."""
    comparison, plan = result.comparison, result.plan
    carried = sum(layer.executed != layer.bits for layer in plan.layers)
    wider = f"; {carried} of {len(plan.layers)} layers run wider than their bits" if carried else ""
    print_verdict(
        console,
        f"{result.model.name} computes what PyTorch does: {comparison.differing} of {comparison.values:,} integers "
        f"differ, by one step at most{wider}",
        GOOD,
    )


def _same_class(agreement: float, images: int) -> str:
    """Return on how many images two sets of logits say the same class; a few of them make no share."""
    return f"the same class on {round(agreement * images)} of {counted(images, 'image')}"


def _accuracy(kept: KeptAccuracy, checkpoint: str, model: str) -> tuple[str, ...]:
    which = "test pictures" if kept.apart else "pictures (it sets none apart to test on)"
    return (
        f"before lowering: top-1 {kept.before}; {checkpoint} by PyTorch",
        f"after lowering: top-1 {kept.after}; {model} by {kept.runtime}",
        f"{model} is {kept.difference.against(checkpoint)}, the {which} of {kept.data}",
    )


def print_artefact(outcome: BuildOutcome, console: Console) -> None:
    """Print what was built, or why it was not; nothing where the runtime runs the ONNX file itself."""
    built = outcome.artefact
    if built is not None:
        console.print(
            Text.assemble(
                (one_line(str(built.path)), "bold"),
                f": {built.size_bytes / 1e6:.2f} MB, {built.description}, built in {built.seconds:.1f} s",
            ),
            soft_wrap=True,
        )
        for warning in built.warnings:
            console.print(warning_line(warning), soft_wrap=True)
    elif outcome.target is not None:
        console.print(line(f"no {outcome.target.name}: {outcome.reason}"), soft_wrap=True)
