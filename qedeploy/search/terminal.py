"""What a search shows: a progress bar while it runs, a summary when it is done."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from qedeploy.latency.table import LatencyTable
from qedeploy.network.structure import Block, Convolution, Structure
from qedeploy.search.costs.budgets.counted import BITOPS, EXECUTED_BITOPS
from qedeploy.search.costs.registry import budget_costs
from qedeploy.search.evolution.solver import Progress, Watch
from qedeploy.search.request import Request
from qedeploy.search.result import STRUCTURE_FILE, SearchResult, score_is_blind
from qedeploy.units import format_count

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

SECONDS_BETWEEN_LINES = 30.0
"""How often a search that nobody watches says where it is."""

_SOURCES = {"user": "--budget", "recipe": "recipe", "profile": "device memory"}


@contextmanager
def progress_shown(console: Console, *, quiet: bool) -> Iterator[Watch | None]:
    """Yield what a solver reports to: a progress bar on a terminal, a line now and then elsewhere, None if `quiet`."""
    if quiet:
        yield None
    elif console.is_terminal:
        yield from _bar(console)
    else:
        yield _lines(console)


def print_summary(request: Request, result: SearchResult, *, seconds: float, written: Path) -> None:
    """Print figures, structure, warnings, and what to do next with the file that was `written`."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    console.print(_figures(request, result.structure))
    console.print(_stages(result.structure))
    if request.space.latency is not None:
        console.print(_prediction(request.space.latency.table))
    for text in warnings(request, result.structure):
        console.print(Text(f"warning: {text}", style="yellow"))
    if result.evidence is not None and "certificate" in result.evidence:
        console.print(f"{result.method}: {result.evaluations:,} labels (partial structures) kept in {seconds:.1f} s")
    else:
        rate = f", {result.evaluations / seconds:,.0f} a second" if seconds > 0 else ""
        console.print(f"{result.method}: {result.evaluations:,} evaluations in {seconds:.1f} s{rate}")
    console.print(
        f"written to {written.parent}\nnext: ", Text(_next(request, written), style="bold"), sep="", soft_wrap=True
    )


def _prediction(table: LatencyTable) -> str:
    """Return where a predicted latency comes from, and how far off it was where that was measured."""
    fit = table.calibration
    known = f", {fit.error:.1%} off on {fit.networks} whole networks" if fit.error is not None else ""
    dated = f" of {table.date[:10]}" if table.date else ""
    return f"latency is predicted from the table{dated} of {table.device}{known}"


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
    ratio = costs[EXECUTED_BITOPS] / costs[BITOPS]
    table.add_row("executed / nominal", f"{ratio:.2f}")
    return table


def warnings(request: Request, structure: Structure) -> list[str]:
    """Return what the figures alone would not tell a person, a sentence each."""
    costs = budget_costs(structure, request.space)
    executed, nominal = costs[EXECUTED_BITOPS], costs[BITOPS]
    found = []
    if executed > nominal:
        found.append(
            f"{request.profile.name} computes {format_count(executed)} BitOps where the structure has "
            f"{format_count(nominal)}: widths narrower than those it multiplies in save bytes at most, no arithmetic"
        )
    if score_is_blind(request.space):
        found.append(
            "the score does not tell the bit pairs of this space apart: its quantization part is a constant, and only "
            "the shape was searched"
        )
    return found


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


def _describe(progress: Progress) -> str:
    use = ", ".join(f"{kind} {share:.1%}" for kind, share in progress.use.items())
    return f"best score {progress.score:.3f}" + (f"; used of {use}" if use else "")


def _bar(console: Console) -> Iterator[Watch]:
    from rich.console import Group
    from rich.live import Live
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar
    from rich.text import Text

    bar = Bar(BarColumn(20), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"), TimeRemainingColumn())
    task = bar.add_task("", total=None, rate="")
    found = Text("searching")
    first: dict[str, tuple[float, int]] = {}

    def watch(progress: Progress) -> None:
        now = time.monotonic()
        # Counted from the first report: what a checkpoint brought along was not evaluated here.
        began, before = first.setdefault("report", (now, progress.evaluations))
        rate = f"{(progress.evaluations - before) / (now - began):,.0f}/s" if now > began else ""
        bar.update(task, total=progress.total, completed=progress.evaluations, rate=rate)
        found.plain = _describe(progress)

    with Live(Group(bar, found), console=console, transient=True):
        yield watch


def _lines(console: Console) -> Watch:
    last = [time.monotonic()]

    def watch(progress: Progress) -> None:
        now = time.monotonic()
        if now - last[0] >= SECONDS_BETWEEN_LINES:
            last[0] = now
            console.print(
                f"{progress.evaluations:,} of {progress.total:,} evaluations; {_describe(progress)}", highlight=False
            )

    return watch
