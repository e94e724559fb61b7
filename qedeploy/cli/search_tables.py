"""What a finished search shows: figures, structure, warnings, and what to do next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qedeploy.cli.proof_tables import print_alternatives, print_certificate
from qedeploy.cli.verdicts import GOOD, UNSURE, print_verdict
from qedeploy.latency.table import LatencyTable
from qedeploy.network.structure import Block, Convolution, Structure
from qedeploy.search.costs.budgets.counted import BITOPS, EXECUTED_BITOPS
from qedeploy.search.costs.budgets.planned import MULTIPLIERS, SRAM, planned_sram
from qedeploy.search.costs.registry import budget_costs
from qedeploy.search.exact.certificate import CLOSED, ProofStatus
from qedeploy.search.request import Request
from qedeploy.search.result import STRUCTURE_FILE
from qedeploy.search.run import FinishedSearch
from qedeploy.search.warnings import search_warnings
from qedeploy.units import format_bytes

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

_SOURCES = {"user": "--budget", "recipe": "recipe", "profile": "device memory"}


def print_found(found: FinishedSearch, *, alternatives: bool = False, verbose: bool = False) -> None:
    """Print figures, structure, warnings, and what to do next; the `alternatives` first, if asked.

    What the proof rests on, multipliers and labels, is printed if `verbose`.
    """
    from rich.text import Text

    from qedeploy.screen import screen

    console = screen()
    request, result, seconds = found.request, found.result, found.seconds
    if alternatives:
        print_alternatives(console, request, found.found)
    if verbose and found.certificate is not None:
        print_certificate(console, found.certificate, request.budgets)
    console.print(_figures(request, result.structure))
    console.print(_stages(result.structure))
    if request.space.latency is not None:
        console.print(_prediction(request.space.latency.table))
    held = (result.evidence or {}).get("sram")
    if held is not None:
        console.print(_within_plan(request, held["asked"]))
    for text in search_warnings(request, result):
        console.print(Text(f"warning: {text}", style="yellow"))
    if found.certificate is not None:
        labels = f": {result.evaluations:,} labels (partial structures) kept" if verbose else ""
        console.print(f"{result.method}{labels} in {seconds:.1f} s")
    else:
        rate = f", {result.evaluations / seconds:,.0f} a second" if seconds > 0 else ""
        console.print(f"{result.method}: {result.evaluations:,} evaluations in {seconds:.1f} s{rate}")
    if found.written is not None:
        written = found.written
        console.print(
            f"written to {written.parent}\nnext: ", Text(_next(request, written), style="bold"), sep="", soft_wrap=True
        )


def print_search_verdict(found: FinishedSearch) -> None:
    """Print the answer of a search in a line."""
    from qedeploy.screen import screen

    answer, style = _verdict(found)
    latency = found.request.space.latency
    if latency is not None and latency.table.doubt:
        answer, style = f"{answer}; the latency table behind it is not to be relied on", UNSURE
    print_verdict(screen(), answer, style)


def _verdict(found: FinishedSearch) -> tuple[str, str]:
    """Return the answer of a search, and the style of how it is meant."""
    request, structure = found.request, found.result.structure
    score = f"{request.recipe.score.label} {request.recipe.score.of(structure):.2f}"
    costs = budget_costs(structure, request.space)
    used = ", ".join(
        f"{kind.text(costs[kind])} of {kind.text(limit)} {kind.label}" for kind, limit in request.budgets.items()
    )
    within = f" within {used}" if used else ""
    certificate = found.certificate
    if certificate is None:
        return f"{score}{within}: the best of {found.result.evaluations:,} tried, without a proof", UNSURE
    upper, held = certificate.upper_bound, (found.result.evidence or {}).get("sram")
    if held is not None:
        # Of all splits of the SRAM, not of the one that the certificate is about.
        upper = max(upper, held["upper_bound"])
    if certificate.status is ProofStatus.OPTIMAL and upper <= certificate.score + CLOSED:
        return f"{score}{within}: proven the best of its space", GOOD
    bound = f"another could score up to {upper:.2f}"
    return f"{score}{within}: not proven the best ({certificate.status}), {bound}", UNSURE


def _prediction(table: LatencyTable) -> str:
    """Return where a predicted latency comes from, and how far off it was where that was measured."""
    fit = table.calibration
    known = f", {fit.error:.1%} off on {fit.networks} whole networks" if fit.error is not None else ""
    dated = f" of {table.date[:10]}" if table.date else ""
    return f"latency is predicted from the table{dated} of {table.device}{known}"


def _within_plan(request: Request, asked: float) -> str:
    """Return how the limit of SRAM that was asked for is kept."""
    held = f"{SRAM.text(request.budgets[SRAM])} may be alive at once"
    if MULTIPLIERS in request.budgets:
        held += f", and multipliers take {MULTIPLIERS.text(request.budgets[MULTIPLIERS])} at most"
    return f"so that the plan takes {SRAM.text(asked)} of SRAM at most, {held}"


def _next(request: Request, written: Path) -> str:
    if written.suffix == ".pth" and not request.profile.search_only:
        return f"qedeploy export {written}"
    return f"qedeploy score {written.parent / STRUCTURE_FILE}"


def _figures(request: Request, structure: Structure) -> RenderableType:
    from rich.table import Table

    costs = budget_costs(structure, request.space)
    table = Table(title=f"{request.recipe.name} on {request.profile.name}", title_justify="left")
    for heading in ("computed", "value", "limit", "used", "set by"):
        table.add_column(heading, justify="left" if heading in {"computed", "set by"} else "right")
    score = request.recipe.score
    table.add_row(score.label, f"{score.of(structure):.3f}")
    for kind in costs:
        cells = [kind.label, kind.text(costs[kind])]
        limit = request.budgets.get(kind)
        if limit is not None:
            source = _SOURCES[request.budget_sources[kind]]
            cells += [kind.text(limit), f"{costs[kind] / limit:.1%}", source]
        table.add_row(*cells)
    plan = planned_sram(structure, request.space)
    if plan is not None:
        table.add_row("planned SRAM, in all", format_bytes(plan.total))
    ratio = costs[EXECUTED_BITOPS] / costs[BITOPS]
    table.add_row("executed / nominal", f"{ratio:.2f}")
    return table


def _stages(structure: Structure) -> RenderableType:
    from rich.table import Table

    size = structure.resolution
    table = Table(title=f"structure at {size} x {size} pixels", title_justify="left")
    for heading in ("", "channels", "bottleneck", "kernel", "stride", "blocks", "bits"):
        table.add_column(heading, justify="left" if heading in {"", "bits"} else "right", no_wrap=heading != "bits")
    _add_convolution(table, "stem", structure.stem)
    for number, stage in enumerate(structure.stages, start=1):
        shape = (stage.out_channels, stage.bottleneck_channels, stage.kernel, stage.stride, len(stage.blocks))
        table.add_row(f"stage {number}", *map(str, shape), _bits(stage.blocks))
    _add_convolution(table, "head", structure.head)
    return table


def _add_convolution(table: Table, name: str, layer: Convolution) -> None:
    table.add_row(name, str(layer.out_channels), "", str(layer.kernel), str(layer.stride), "", str(layer.bits))


def _bits(blocks: tuple[Block, ...]) -> str:
    names = ["/".join(dict.fromkeys(map(str, block.layers()))) for block in blocks]
    if len(set(names)) == 1:
        return names[0]
    return ", ".join(names)
