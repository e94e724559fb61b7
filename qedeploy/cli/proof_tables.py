"""What the exact search shows: the certificate, the best shapes, the front."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qedeploy.search.costs.registry import Budgets, budget_costs
from qedeploy.search.exact.certificate import Certificate, ProofStatus
from qedeploy.search.exact.front_files import PLOT_FILE, published_points
from qedeploy.search.exact.pareto import Front
from qedeploy.search.exact.solver import Found
from qedeploy.search.request import Request
from qedeploy.search.result import FRONT_FILE
from qedeploy.search.run import FinishedSearch

if TYPE_CHECKING:
    from rich.console import Console


def print_certificate(console: Console, certificate: Certificate, budgets: Budgets) -> None:
    """Print what is proven, and what a little more of each of `budgets` would be worth."""
    steps = {budget.name: budget.step for budget in budgets}
    closed = certificate.status is ProofStatus.OPTIMAL
    verdict = "optimal, proven" if closed else f"{certificate.status}, gap {certificate.gap:.4g}"
    console.print(
        f"{verdict}: score {certificate.score:.6f}; no structure within the budgets scores above "
        f"{certificate.upper_bound:.6f}"
    )
    console.print(
        f"  the multipliers alone prove {certificate.relaxed_bound:.6f}, {certificate.labels:,} labels close the rest"
    )
    for name, price in certificate.multipliers.items():
        step, unit = steps[name]
        worth = f"{price * step:.4g} score for {unit} more" if price else "not binding"
        console.print(f"  shadow price of {name}: {worth}")


def print_alternatives(console: Console, request: Request, found: tuple[Found, ...]) -> None:
    """Print the best shapes, each at its best widths, as a table."""
    from rich.table import Table

    title = "best shapes, each at its best widths" + (" (there are no others)" if len(found) < 2 else "")
    table = Table(title=title, title_justify="left")
    kinds = list(request.budgets)
    for heading in ("", "score", "channels", "bottlenecks", "kernels", "blocks", *map(str, kinds)):
        figure = heading in {"", "score"}
        table.add_column(heading, justify="right" if figure else "left", no_wrap=figure)
    for number, item in enumerate(found, start=1):
        structure = item.structure
        costs = budget_costs(structure, request.space)
        rows = zip(
            *((s.out_channels, s.bottleneck_channels, s.kernel, len(s.blocks)) for s in structure.stages), strict=True
        )
        cells = [" ".join(map(str, row)) for row in rows]
        cells[0] = f"{structure.stem.out_channels} {cells[0]}"
        table.add_row(str(number), f"{item.score:.4f}", *cells, *(kind.text(costs[kind]) for kind in kinds))
    console.print(table)


def print_front(front: Front, search: FinishedSearch) -> None:
    """Print the front of a search as a table, the published models that it can be compared with in their places."""
    from rich.table import Table

    from qedeploy.screen import screen

    console, request = screen(), search.request
    extent = (
        "the whole front"
        if front.whole
        else f"{len(front.points)} points of the front; between two of them, none scores above what the upper one may"
    )
    console.print(f"score against {front.kind}: {extent}")
    table = Table()
    for heading in (front.kind.name, "score", "at most"):
        table.add_column(heading, justify="right")
    table.add_column("published")
    published = published_points(front.kind, request)
    rows = [(point.cost, point.score, f"{point.upper_bound:.4f}", "") for point in front.points]
    rows += [(cost, score, "", name) for name, cost, score in published]
    for cost, score, bound, name in sorted(rows):
        table.add_row(front.kind.text(cost), f"{score:.4f}", bound, name)
    console.print(table)
    console.print(
        "published models need not lie in the recipe's space, so one may score above the front"
        if published
        else f"no published model is on it: none has the resolution and stages of recipe {request.recipe.name}"
    )
    if search.folder is not None:
        console.print(f"written to {search.folder / FRONT_FILE} and {search.folder / PLOT_FILE}", soft_wrap=True)
