"""What `quantize` prints: how fast, how right, why, and which layers stayed in float32."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qedeploy.search.assign.problem import FLOAT
from qedeploy.units import format_duration
from qedeploy.words import counted, listed

if TYPE_CHECKING:
    from rich.console import Console

    from qedeploy.campaign.quantization.run import FinishedQuantization

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
    line(f"float32: {format_duration(found.float_seconds)} a query in its nodes, {counted(len(found.layers), 'layer')}")
    for name, reason in found.quantizer.refused.items():
        line(f"stays in float32: {name} {reason}")
    if contest.winner is None or found.assignment is None:
        line(f"float32 throughout: {contest.reason}")
    else:
        winner = contest.winner
        precisions = ", ".join(found.precisions)
        predicted = winner.assignment.costs.seconds / found.float_seconds
        line(
            f"{len(found.assignment.quantized)} of {counted(len(found.quantizer.layers), 'layer')} in "
            f"{precisions}: {winner.time} of the prepared network's time (predicted {predicted:.2f}x), "
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
