"""What the exact search shows: the bounds closing in, the certificate, the best shapes, the front."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

from qedeploy.errors import UserError
from qedeploy.figures import write_svg
from qedeploy.files import write_json
from qedeploy.network.costs import convolutions
from qedeploy.network.layers import expand_layers
from qedeploy.network.published import published_models
from qedeploy.search.audit.folder_checks import FRONT_FILE
from qedeploy.search.costs.budget import Budget
from qedeploy.search.costs.budgets.counted import EXECUTED_BITOPS
from qedeploy.search.costs.budgets.latency import LATENCY
from qedeploy.search.costs.registry import Budgets, budget_costs
from qedeploy.search.exact.certificate import Certificate, Status
from qedeploy.search.exact.pareto import Front, front
from qedeploy.search.exact.solver import Found, Progress
from qedeploy.search.request import Request

if TYPE_CHECKING:
    from rich.console import Console

FRONT_POINTS = 24


@contextmanager
def bounds_shown(console: Console, *, quiet: bool) -> Iterator[Progress | None]:
    """Yield what the solver reports to: a line that changes on a terminal, nothing elsewhere or if `quiet`."""
    if quiet or not console.is_terminal:
        yield None
        return
    with console.status("multipliers") as status:

        def show(score: float, bound: float, labels: int) -> None:
            best = f"best score {score:.4f}" if score > float("-inf") else "nothing yet"
            status.update(f"{best}, none above {bound:.4f}; {labels:,} labels")

        yield show


def print_certificate(console: Console, certificate: Certificate, budgets: Budgets) -> None:
    """Print what is proven, and what a little more of each of `budgets` would be worth."""
    steps = {budget.name: budget.step for budget in budgets}
    closed = certificate.status is Status.OPTIMAL
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


def write_front(
    folder: Path, request: Request, kind: Budget, *, workers: int = 1, cluster: str | None = None, quiet: bool
) -> Front:
    """Find the front of score against `kind`, write it as front.json and front.svg into `folder`, and return it."""
    from rich.console import Console

    found = front(request.space, request.budgets, kind, points=FRONT_POINTS, workers=workers, cluster=cluster)
    write_json(folder / FRONT_FILE, found.document())
    draw_front(folder / "front.svg", found, request)
    if not quiet:
        console = Console(highlight=False)
        print_front(console, found, request)
        console.print(f"written to {folder / FRONT_FILE} and {folder / 'front.svg'}", soft_wrap=True)
    return found


def print_front(console: Console, found: Front, request: Request) -> None:
    """Print the front as a table, the published models that it can be compared with in their places."""
    from rich.table import Table

    extent = (
        "the whole front"
        if found.whole
        else f"{len(found.points)} points of the front; between two of them, none scores above what the upper one may"
    )
    console.print(f"score against {found.kind}: {extent}")
    table = Table()
    for heading in (found.kind.name, "score", "at most"):
        table.add_column(heading, justify="right")
    table.add_column("published")
    published = published_points(found.kind, request)
    rows = [(point.cost, point.score, f"{point.upper_bound:.4f}", "") for point in found.points]
    rows += [(cost, score, "", name) for name, cost, score in published]
    for cost, score, bound, name in sorted(rows):
        table.add_row(found.kind.text(cost), f"{score:.4f}", bound, name)
    console.print(table)
    console.print(
        "published models need not lie in the recipe's space, so one may score above the front"
        if published
        else f"no published model is on it: none has the resolution and stages of recipe {request.recipe.name}"
    )


def draw_front(path: Path, found: Front, request: Request) -> Path:
    """Draw the front with the published models on it as an SVG; returns its path."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    scale = 1e3 if found.kind == LATENCY else 1.0
    costs, scores = [scale * point.cost for point in found.points], [point.score for point in found.points]
    axes.step(costs, scores, where="post", color="tab:blue", linewidth=1, label="reached")
    axes.step(costs, scores, where="pre", color="tab:blue", linewidth=1, linestyle=":", label="cannot be exceeded")
    for proven, fill, label in ((True, "full", "proven optimal"), (False, "none", "best found, not proven")):
        chosen = [(scale * point.cost, point.score) for point in found.points if point.proven is proven]
        if chosen:
            axes.plot(*zip(*chosen, strict=True), "o", color="tab:blue", markersize=4, fillstyle=fill, label=label)
    # In the legend and not beside the marks: published models lie close together.
    markers = cycle("x+Dsv^")
    for (name, cost, score), marker in zip(published_points(found.kind, request), markers, strict=False):
        at, label = [scale * cost], f"{name} (published)"
        axes.plot(at, [score], marker, color="tab:red", markersize=7, fillstyle="none", linestyle="", label=label)
    axes.set_xscale("log")
    if found.kind == LATENCY:
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("{x:g}")
    axes.set_xlabel(f"{found.kind} ({found.kind.axis})")
    axes.set_ylabel(request.recipe.score.label)
    axes.set_title(f"{request.recipe.name} on {request.profile.name}")
    axes.legend(loc="lower right")
    axes.grid(visible=True, alpha=0.3)
    return write_svg(path, figure)


def published_points(kind: Budget, request: Request) -> list[tuple[str, float, float]]:
    """Return name, cost and score of the published models that the recipe's score and the budget's cost apply to."""
    space, found = request.space, []
    for model in published_models():
        layers = convolutions(expand_layers(model.structure))
        known = kind != EXECUTED_BITOPS or all((x.category, x.bits) in space.executed for x in layers)
        if not known or model.structure.resolution != space.resolution:
            continue
        with suppress(UserError):
            # Raised where the recipe has another number of stage ratios: its score says nothing of this model; and
            # where the latency table does not have its layers.
            score = space.score.of(model.structure)
            found.append((model.name, kind.cost(model.structure, space), score))
    return found
