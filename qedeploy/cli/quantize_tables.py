"""What `quantize` prints: how fast, how right, why, and which layers stayed in float32."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from qedeploy.network.layers import expand_layers
from qedeploy.search.assign.problem import FLOAT
from qedeploy.search.assign.solver import Objective
from qedeploy.train.sensitivity import Side
from qedeploy.units import format_bytes, format_count, format_duration
from qedeploy.words import counted, listed

if TYPE_CHECKING:
    from rich.console import Console

    from qedeploy.campaign.quantization.run import FinishedQuantization
    from qedeploy.campaign.typed_quantization.run import FinishedTypedQuantization
    from qedeploy.campaign.widths.assignment import FinishedWidths
    from qedeploy.search.assign.problem import AssignmentProblem

_MOST_POINTS = 12


def print_quantization(result: FinishedQuantization, console: Console) -> None:
    """Print a result as a person reads it."""
    found = result.found
    contest = found.contest

    def line(text: str) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    worst = max(found.prepared.differences, key=lambda item: item.share)
    line(
        f"prepared: {contest.preparation} of the time of {found.prepared.source.name}; its outputs differ by "
        f"{worst.share:.1e} of their range at most"
    )
    line(f"float32: {format_duration(found.float_seconds)} a query, {counted(len(found.layers), 'layer')}")
    if found.improvement is not None:
        line(found.improvement.words)
    for name, reason in found.quantizer.refused.items():
        line(f"stays in float32: {name} {reason}")
    if contest.winner is None or found.assignment is None:
        line(f"float32 throughout: {contest.reason}")
    else:
        winner = contest.winner
        precisions = ", ".join(found.precisions)
        line(
            f"{len(found.assignment.quantized)} of {counted(len(found.quantizer.layers), 'layer')} in "
            f"{precisions}: {winner.time} of the prepared network's time (predicted {winner.predicted:.2f}x), "
            f"{winner.over_original} of the original's"
        )
        line(
            f"error {winner.error:.2g} on {found.layers[0].samples} samples (predicted "
            f"{winner.assignment.costs.error:.2g}); chosen for {contest.reason}"
        )
        if winner.drop is not None:
            line(f"the metric falls by {winner.drop:.3g} on these samples")
        line(f"gap {found.assignment.gap:.1e}" + (f"; {found.proof.words}" if found.proof is not None else ""))
        if found.check is not None:
            line(
                f"checked: {found.check.kernels} integer kernels as planned, {found.check.differing} of "
                f"{found.check.integers} integers rounded otherwise"
            )
        floats = [name for name, precision in found.assignment.precisions.items() if precision == FLOAT]
        line(f"in float32: {listed(floats, 6) if floats else 'no layer'}")
    if result.front is not None:
        _print_front(result, console)
    if result.written is not None:
        line(f"wrote {result.written.model}, {result.written.sensitivity.name} and {result.written.assignment.name}")


def print_typed_quantization(result: FinishedTypedQuantization, console: Console) -> None:
    """Print the result for a device that was not timed as a person reads it."""
    found = result.found

    def line(text: str) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    worst = max(found.prepared.differences, key=lambda item: item.share)
    line(f"prepared: outputs of {found.prepared.source.name} differ by {worst.share:.1e} of their range at most")
    for name, reason in found.quantizer.refused.items():
        line(f"not in W8A8: {name} {reason}")
    counts = Counter(found.precisions.values())
    line("layers: " + ", ".join(f"{number} in {precision}" for precision, number in sorted(counts.items())))
    line(f"chosen for {found.reason}" if found.winner is not None else f"float16 throughout: {found.reason}")
    samples = found.layers[0].samples if found.layers else 0
    predicted = "" if found.winner is None else f" (predicted {found.winner.assignment.costs.error:.2g})"
    line(f"error {found.error:.2g} on {counted(samples, 'sample')}{predicted}; float16 alone {found.float16_error:.2g}")
    if found.drop is not None:
        line(f"the metric falls by {found.drop:.3g} on these samples")
    if found.winner is not None and found.proof is not None:
        costs, plain = found.winner.assignment.costs, _in_float16(found.problem)
        line(
            f"of float16: {costs.executed / plain['executed']:.2f}x the executed BitOps, "
            f"{costs.size / plain['size']:.2f}x the bytes of its layers' weights; not timed: the device is not here"
        )
        line(f"gap {found.winner.assignment.gap:.1e}; {found.proof.words}")
    check = found.half
    line(
        f"checked in float16: {check.differing} of {check.integers} integers rounded otherwise, results of "
        f"{counted(check.layers, 'layer')} off by {check.largest:.1e} at most; in float32 {found.exact.differing} and "
        f"{found.exact.largest:.1e}"
    )
    if result.written is not None:
        line(f"wrote {result.written.model}, {result.written.sensitivity.name} and {result.written.assignment.name}")
        if result.artefact is None:
            line(f"not built: {result.reason}")
        else:
            size, seconds = format_bytes(result.artefact.size_bytes), format_duration(result.artefact.seconds)
            line(f"built {result.artefact.path}: {result.artefact.description}, {size} in {seconds}")


def _in_float16(problem: AssignmentProblem) -> dict[str, float]:
    """Return BitOps and bytes with every layer in its first precision, which is float16 unless --fix says otherwise."""
    first = [layer.choices[0] for layer in problem.layers]
    return {figure: sum(getattr(choice, figure) for choice in first) for figure in ("executed", "size")}


def print_widths(result: FinishedWidths, data: Path, console: Console) -> None:
    """Print the widths that a checkpoint got as a person reads it."""
    from rich.table import Table

    found = result.found
    costs, assignment = found.assignment.costs, found.assignment
    pairs = Counter(
        assignment.precisions[layer.name] for layer in found.problem.layers if len(found.pairs[layer.name]) > 1
    )
    table = Table("layer", "widths", "weights cost", "inputs cost", title="widths", title_justify="left")
    known = {(item.layer, item.side, item.bits): item for item in found.errors}
    for layer in expand_layers(found.checkpoint.structure):
        sides = (
            known.get((layer.name, Side.WEIGHT, layer.bits.weight)),
            known.get((layer.name, Side.ACTIVATION, layer.bits.activation)),
        )
        cells = ["" if item is None else f"{item.error:.1e} ± {item.spread:.0e}" for item in sides]
        table.add_row(layer.name, str(layer.bits), *cells)
    console.print(table)

    def line(text: str) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    line("widths: " + ", ".join(f"{number} {pair}" for pair, number in sorted(pairs.items())))
    limits = assignment.limits.given
    shown: dict[str, tuple[str, Callable[[float], str]]] = {
        "size": ("size", format_bytes), "nominal": ("nominal BitOps", format_count),
        "executed": ("executed BitOps", format_count),
    }  # fmt: skip
    if found.timed:
        shown["seconds"] = ("predicted latency", format_duration)
    parts = []
    for figure, (label, text) in shown.items():
        limit = f" of {text(limits[figure])}" if figure in limits else ""
        parts.append(f"{label} {text(getattr(costs, figure))}{limit}")
    line(f"without the classifier: {', '.join(parts)}")
    line(
        f"predicted loss {costs.error:.2g} nats on {counted(found.samples, 'picture')}; minimised: "
        f"{_MINIMISED[assignment.objective]}; gap {assignment.gap:.1e}; {found.proof.words}"
    )
    if found.before is not None and found.after is not None:
        where = "apart" if found.apart else "held out"
        line(f"top-1 without training {found.after} (before: {found.before}), {where}")
    if result.written is not None:
        line(f"wrote {result.written.model}, {result.written.sensitivity.name} and {result.written.assignment.name}")
        line(f"next: qedeploy export {result.written.model}, or qedeploy train {result.written.model} --data {data}")
        line(_AFTER_TRAINING)


_AFTER_TRAINING = (
    "a word on training: on Fashion-MNIST (three seeds, docs/measured/assignment-after-training.md) widths from data "
    "were not told apart, once trained, from one width in all layers within the same BitOps"
)
"""What benchmarks/assignment.py found, which a user who means to train should know."""

_MINIMISED = {
    Objective.SECONDS: "latency", Objective.ERROR: "loss", Objective.SIZE: "size", Objective.NOMINAL: "BitOps",
    Objective.EXECUTED: "executed BitOps",
}  # fmt: skip


def _print_front(result: FinishedQuantization, console: Console) -> None:
    from rich.table import Table

    front = result.front
    if front is None:
        return
    table = Table("time", "of float32", "error", title="the front as predicted")
    step = max(1, -(-len(front.seconds) // _MOST_POINTS))
    for seconds, error in list(zip(front.seconds, front.errors, strict=True))[::step]:
        table.add_row(format_duration(float(seconds)), f"{seconds / result.found.float_seconds:.2f}x", f"{error:.2g}")
    console.print(table)
