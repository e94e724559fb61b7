"""Compared runs as JSON, as an SVG, and as one HTML page."""

from __future__ import annotations

import dataclasses
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qedeploy.campaign.comparison.comparing import Group, Lacking, PlacedRun, RunComparison
from qedeploy.campaign.comparison.reading import Run
from qedeploy.figures import write_svg
from qedeploy.files import write_json, write_text
from qedeploy.printable import plain_label, printable
from qedeploy.publishing import together

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMAT = "qedeploy-compare/1"
JSON_FILE, PLOT_FILE, PAGE_FILE = "compare.json", "compare.svg", "compare.html"
_TEMPLATES = Path(__file__).parent / "templates"
_NAMED = 20
"""Runs of a group up to which the plot names all of them, and not only those on the front."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One run of a table, as a person reads it."""

    name: str
    best: bool
    latency: str
    top1: str
    interval: str
    score: str
    profile: str


def write_comparison(folder: Path, comparison: RunComparison) -> tuple[Path, ...]:
    """Write compare.json and compare.html, and compare.svg where there is something to draw; returns them."""
    with together(folder):
        written = [write_json(folder / JSON_FILE, document(comparison))]
        if comparison.groups:
            written.append(write_svg(folder / PLOT_FILE, draw(comparison)))
        return (*written, write_text(folder / PAGE_FILE, page(comparison)))


def document(comparison: RunComparison) -> dict[str, Any]:
    """Return a comparison as JSON-ready data; times in seconds, shares from 0 to 1."""
    return {
        "format": FORMAT,
        "groups": [
            {
                "conditions": dataclasses.asdict(group.conditions),
                "versions": list(group.versions),
                "data": group.data,
                "images": group.images,
                "runs": [{"pareto": placed.best, **_run_document(placed.run)} for placed in group.runs],
            }
            for group in comparison.groups
        ],
        "lacking": [
            {"missing": one.missing, "command": one.command, **_run_document(one.run)} for one in comparison.lacking
        ],
        "notes": list(comparison.notes),
    }


def row(placed: PlacedRun) -> Row:
    """Return what a table says of a run."""
    timed, counted = placed.run.timed, placed.run.counted
    assert timed is not None
    assert counted is not None
    return Row(
        name=str(placed.run.folder),
        best=placed.best,
        latency=f"{timed.seconds * 1e3:.4g} ms{'' if timed.stable else ' (varies)'}",
        top1=f"{counted.top1:.2%}",
        interval=f"{counted.low:.2%} to {counted.high:.2%}",
        score="-" if placed.run.score is None else f"{placed.run.score:.2f}",
        profile=timed.profile or "-",
    )


def known_of(one: Lacking) -> str:
    """Return what is known of a run that cannot be placed."""
    run, parts = one.run, []
    if run.timed is not None:
        parts.append(f"{run.timed.seconds * 1e3:.4g} ms, {run.timed.conditions}")
    if run.counted is not None:
        parts.append(
            f"top-1 {run.counted.top1:.2%} of {run.counted.images:,} images ({run.counted.model} by "
            f"{run.counted.runtime})"
        )
    elif run.trained is not None:
        parts.append(f"top-1 {run.trained.top1:.2%} of {run.trained.images:,} images in training, by PyTorch")
    if run.score is not None:
        parts.append(f"score {run.score:.2f}")
    return "; ".join(parts)


def draw(comparison: RunComparison) -> Figure:
    """Draw accuracy against latency, one panel for each group, the front as a line."""
    from matplotlib.figure import Figure

    groups = comparison.groups
    figure = Figure(figsize=(8.4, 4.6 * len(groups)), layout="constrained")
    for axes, group in zip(figure.subplots(len(groups), 1, squeeze=False)[:, 0], groups, strict=True):
        _draw_group(axes, group)
    return figure


def page(comparison: RunComparison) -> str:
    """Return the text of compare.html, which needs no other file and no network."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: printable(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("compare.html").render(
        comparison=comparison, picture=_inline(comparison), row=row, known_of=known_of
    )


def _draw_group(axes: Any, group: Group) -> None:
    names = _names([placed.run for placed in group.runs])
    front = [placed for placed in group.runs if placed.best]
    for placed, name in zip(group.runs, names, strict=True):
        timed, counted = placed.run.timed, placed.run.counted
        assert timed is not None
        assert counted is not None
        x, y = timed.seconds * 1e3, 100 * counted.top1
        color = "tab:red" if placed.best else "tab:gray"
        reach = [[y - 100 * counted.low], [100 * counted.high - y]]
        axes.errorbar([x], [y], yerr=reach, fmt="o" if timed.stable else "s", color=color, markersize=5, linewidth=1)
        if placed.best or len(group.runs) <= _NAMED:
            axes.annotate(plain_label(name), (x, y), xytext=(5, 4), textcoords="offset points", fontsize=8)
    points = [row_of for placed in front if (row_of := _point(placed.run)) is not None]
    axes.plot([x for x, _ in points], [y for _, y in points], color="tab:red", linewidth=1, label="Pareto front")
    axes.set_xlabel("median latency, ms")
    axes.set_ylabel("top-1, %, with its 95 % interval")
    axes.set_title(plain_label(group.title), fontsize=9)
    axes.margins(x=0.12)
    axes.grid(visible=True, alpha=0.2)
    axes.legend(loc="lower right", fontsize=8)


def _point(run: Run) -> tuple[float, float] | None:
    if run.timed is None or run.counted is None:
        return None
    return run.timed.seconds * 1e3, 100 * run.counted.top1


def _names(runs: list[Run]) -> list[str]:
    """Return the last parts of the runs' folders, as many as it takes to tell them apart."""
    parts = [run.folder.absolute().parts for run in runs]
    for count in range(1, 4):
        names = ["/".join(one[-count:]) for one in parts]
        if len(set(names)) == len(names):
            return names
    return [str(run.folder) for run in runs]


def _inline(comparison: RunComparison) -> str:
    """Return the plot as an SVG element, nothing where there is no group."""
    from matplotlib import rc_context

    if not comparison.groups:
        return ""
    stream = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "qedeploy"}):
        draw(comparison).savefig(stream, format="svg", metadata={"Date": None})
    text = stream.getvalue()
    return text[text.index("<svg") :]


def _run_document(run: Run) -> dict[str, Any]:
    return {
        "folder": str(run.folder),
        "score": run.score,
        "time": None if run.timed is None else dataclasses.asdict(run.timed),
        "accuracy": None if run.counted is None else dataclasses.asdict(run.counted),
        "in_training": None if run.trained is None else dataclasses.asdict(run.trained),
    }
