"""The front as files: front.json, and front.svg with the published models beside it."""

from __future__ import annotations

from contextlib import suppress
from itertools import cycle
from pathlib import Path

from qedeploy.errors import UserError
from qedeploy.figures import write_svg
from qedeploy.files import write_json
from qedeploy.network.costs import convolutions
from qedeploy.network.layers import expand_layers
from qedeploy.network.published import published_models
from qedeploy.printable import plain_label
from qedeploy.publishing import together
from qedeploy.search.costs.budget import Budget
from qedeploy.search.costs.budgets.counted import EXECUTED_BITOPS
from qedeploy.search.costs.budgets.latency import LATENCY
from qedeploy.search.exact.pareto import Front
from qedeploy.search.request import Request
from qedeploy.search.result import FRONT_FILE

PLOT_FILE = "front.svg"


def write_front(folder: Path, found: Front, request: Request) -> tuple[Path, Path]:
    """Write front.json and front.svg into `folder` and return both; raises UserError where it does not take them."""
    with together(folder):
        return write_json(folder / FRONT_FILE, found.document()), draw_front(folder / PLOT_FILE, found, request)


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
    axes.set_xlabel(plain_label(f"{found.kind} ({found.kind.axis})"))
    axes.set_ylabel(plain_label(request.recipe.score.label))
    axes.set_title(plain_label(f"{request.recipe.name} on {request.profile.name}"))
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
