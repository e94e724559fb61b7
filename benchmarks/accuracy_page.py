"""What `accuracy.py` found, as a table, a page and curves."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from qedeploy.bench.measure.machine import describe_machine
from qedeploy.figures import write_svg
from qedeploy.files import write_text
from qedeploy.units import format_count

POST_TRAINING = " post-training"
FLOAT, POST = "float32", "W8A8" + POST_TRAINING
LARGEST_GAP = 0.3
LARGEST_DROP = {POST: 1.0, "W4A4": 1.5}
LEAST_SPEED, LEAST_TOP1 = 0.7, 91
QUANTIZED, BREVITAS = "quantized", "Brevitas"
PAGE, CURVES, SPEEDS = "fashion-mnist.md", "fashion-mnist-bitops.svg", "speed.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the trainings of a row share: epochs in float32, then as the row says, and how many images there are."""

    float_epochs: float
    epochs: float
    train_images: int | None
    limit: str

    @property
    def name(self) -> str:
        """What a folder of such trainings is called."""
        images = "" if self.train_images is None else f"-{self.train_images}-images"
        return f"{self.float_epochs:g}+{self.epochs:g}-epochs{images}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A shape that was searched under a `limit` of BitOps with the widths of a row; no BitOps for floating point."""

    limit: str
    macs: int
    layers: int
    weights: int
    nominal: float | None
    executed: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """How many test images a row got right with one seed, by PyTorch and as the exported file.

    `only_pytorch` and `only_exported` count images that just one of them has right. `processor_seconds` is the time of
    training, None where it was interrupted.
    """

    network: Network
    row: str
    seed: int
    settings: Settings
    images: int
    pytorch: int
    exported: int | None
    only_pytorch: int
    only_exported: int
    runtime: str
    processor_seconds: float | None

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Cell:
        """Return the cell of a journal's line."""
        return cls(
            **{
                **document,
                "network": Network(**document["network"]),
                "settings": Settings(**document["settings"]),
            }
        )

    @property
    def top1(self) -> float:
        """Share of right answers, of the exported file where there is one."""
        return (self.pytorch if self.exported is None else self.exported) / self.images


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The cells of one row, a seed each; `drops` are points below the float network of the same seed."""

    name: str
    cells: tuple[Cell, ...]
    drops: tuple[float, ...]

    @property
    def gaps(self) -> tuple[float, ...]:
        """Points that the exported file is below PyTorch, seed by seed; none where nothing is exported."""
        return tuple(
            100 * (cell.pytorch - cell.exported) / cell.images for cell in self.cells if cell.exported is not None
        )

    def shares(self, *, exported: bool) -> tuple[float, ...]:
        """Percent of right answers, seed by seed."""
        found = (cell.exported if exported else cell.pytorch for cell in self.cells)
        return tuple(
            100 * right / cell.images for right, cell in zip(found, self.cells, strict=True) if right is not None
        )


def rows(cells: Sequence[Cell], settings: Settings, limit: str | None = None) -> tuple[Row, ...]:
    """Return the rows that were trained with `settings` on the shape of a `limit`, the main one unless named."""
    wanted = settings.limit if limit is None else limit
    chosen = [cell for cell in cells if cell.settings == settings and cell.network.limit == wanted]
    floats = {cell.seed: cell.top1 for cell in chosen if cell.row == FLOAT}
    made = []
    for name in dict.fromkeys(cell.row for cell in chosen):
        mine = tuple(cell for cell in chosen if cell.row == name)
        made.append(Row(name=name, cells=mine, drops=tuple(100 * (floats[cell.seed] - cell.top1) for cell in mine)))
    return tuple(made)


HEADINGS = ("widths", "PyTorch", "ONNX Runtime", "exported below PyTorch", "below float32", "nominal", "executed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """How fast a network trains, and that as a share of the float network's speed, the median between quartiles."""

    name: str
    images_per_second: float
    low: float
    middle: float
    high: float


def speeds(folder: Path) -> tuple[Speed, ...]:
    """Return what training_speed.py left in `folder`, nothing where it did not run."""
    path = folder / SPEEDS
    return tuple(Speed(**one) for one in json.loads(path.read_text(encoding="utf-8"))) if path.exists() else ()


def print_rows(cells: Sequence[Cell], settings: Settings) -> None:
    """Print what every row got right."""
    table = Table(title="top-1 in percent, mean and range of the seeds; differences in points", title_justify="left")
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading == "widths" else "right")
    for row in rows(cells, settings):
        table.add_row(*_figures(row))
    Console(highlight=False, width=160).print(table)


def write_page(folder: Path, cells: Sequence[Cell], settings: Settings, command: str, speed: Sequence[Speed]) -> Path:
    """Write the page and its curves into `folder`; returns the page."""
    found = rows(cells, settings)
    seeds, images = len(found[0].cells), found[0].cells[0].images
    network, machine = found[0].cells[0].network, describe_machine()
    longer = trained_longer(cells, settings)
    trained = "all 60,000" if settings.train_images is None else f"{settings.train_images:,}"
    spent = [cell.processor_seconds for row in found for cell in row.cells if cell.processor_seconds is not None]
    lines = [
        "# What bits cost in accuracy: Fashion-MNIST",
        "",
        f"Fashion-MNIST padded to 32 x 32 pixels, {trained} training images (5 % of them held out to choose the",
        f"weights), judged on {images:,} test images that chose nothing. One searched shape, the best under",
        f"{settings.limit} nominal BitOps: {network.layers} layers, {format_count(network.macs)} multiply-accumulates,",
        f"{network.weights:,} weights. Every seed trains the float network for {settings.float_epochs:g} epochs; from",
        f"its weights each row goes on for {settings.epochs:g}, the float network too. {seeds} seeds a row. Trainings",
        f"are short, {sum(spent) / 60:.0f} processor minutes in all on one thread: no network is trained to its end.",
        "",
        "```",
        command,
        "```",
        "",
        f"{machine.cpu} ({', '.join(machine.instruction_sets)}); {found[-1].cells[0].runtime}, one thread.",
        "",
        "## Top-1",
        "",
        "Percent: mean, and from the worst to the best seed. Differences in points, of the same seed. The standard",
        f"error of one share of {images:,} images is about 0.35 points. BitOps are without the classifier.",
        "",
        f"| {' | '.join(HEADINGS)} |",
        f"|---|{'---:|' * (len(HEADINGS) - 1)}",
        *(f"| {' | '.join(_figures(row))} |" for row in found),
        "",
        f"![top-1 of the exported files against BitOps]({CURVES})",
        "",
        *_longer_lines(longer),
        "## The aims",
        "",
        "| aim | measured: mean, range of the seeds | met |",
        "|---|---|---|",
        *(f"| {' | '.join(aim)} |" for aim in (*_aims(found, longer), *_speed_aims(speed))),
        "",
        *_speed_lines(speed),
    ]
    draw(folder / CURVES, found, longer)
    return write_text(folder / PAGE, "\n".join(lines))


def trained_longer(cells: Sequence[Cell], settings: Settings) -> tuple[Row, ...]:
    """Return the rows of the shape that was trained for the longest, nothing where that is the main one."""
    others = [cell for cell in cells if cell.settings != settings]
    if not others:
        return ()
    longest = max(others, key=lambda cell: cell.settings.float_epochs)
    order = [row.name for row in rows(cells, settings)]
    return tuple(sorted(rows(cells, longest.settings, longest.network.limit), key=lambda row: order.index(row.name)))


def draw(path: Path, found: Sequence[Row], longer: Sequence[Row]) -> Path:
    """Draw the top-1 of the exported files against nominal and executed BitOps, with the range of the seeds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.5), layout="constrained")
    colours = {name: f"C{index}" for index, name in enumerate(dict.fromkeys(row.name for row in (*found, *longer)))}
    for axes, executed in zip(figure.subplots(1, 2, sharey=True), (False, True), strict=True):
        for group, marker in ((found, "o"), (longer, "s")):
            for row in group:
                network, shares = row.cells[0].network, row.shares(exported=True)
                bitops = network.executed if executed else network.nominal
                if not shares or bitops is None:
                    continue
                middle = statistics.mean(shares)
                reach = [[middle - min(shares)], [max(shares) - middle]]
                label = row.name if group is found else None
                axes.errorbar(
                    [bitops / 1e6], [middle], yerr=reach, fmt=marker, capsize=4, label=label, color=colours[row.name]
                )
            floats = next((row for row in group if row.name == FLOAT), None)
            if floats is not None:
                line = statistics.mean(floats.shares(exported=False))
                axes.axhline(line, linestyle=":" if marker == "o" else "--", color="grey", linewidth=1)
                place = {"xycoords": ("axes fraction", "data"), "va": "bottom", "fontsize": 8, "color": "grey"}
                marked = "circles" if marker == "o" else "squares"
                axes.annotate(f"float32, {_shape(floats)} ({marked})", (0.02, line), **place)
        axes.set_xlabel(f"{'executed' if executed else 'nominal'} BitOps, millions")
        axes.grid(visible=True, alpha=0.3)
        axes.set_xlim(left=0)
    figure.axes[0].set_ylabel("top-1 in ONNX Runtime, %")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), frameon=False, loc="outside lower center", ncols=5)
    return write_svg(path, figure)


def _shape(row: Row) -> str:
    settings = row.cells[0].settings
    return f"{row.cells[0].network.limit}, {settings.float_epochs:g} + {settings.epochs:g} epochs"


def _longer_lines(longer: Sequence[Row]) -> list[str]:
    if not longer:
        return []
    settings, network = longer[0].cells[0].settings, longer[0].cells[0].network
    seeds = max(len(row.cells) for row in longer)
    return [
        "## A larger shape, trained for longer",
        "",
        f"The best under {network.limit} nominal BitOps, {network.weights:,} weights: {settings.float_epochs:g} epochs",
        f"in float32, then {settings.epochs:g} in the widths of the row. {seeds} seed{'s' if seeds > 1 else ''}; the",
        "minutes are of one thread's processor time, for a quantized row with all of its float network's.",
        "",
        f"| {' | '.join(HEADINGS)} | minutes |",
        f"|---|{'---:|' * len(HEADINGS)}",
        *(f"| {' | '.join((*_figures(row), _minutes(row, longer)))} |" for row in longer),
        "",
    ]


def _minutes(row: Row, group: Sequence[Row]) -> str:
    """Return the most processor minutes that a training of `row` took, those of its float network included."""
    spent = [_seconds(cell) + (0.0 if row.name == FLOAT else _seconds(_floating(cell, group))) for cell in row.cells]
    return f"{max(spent) / 60:.0f}"


def _seconds(cell: Cell) -> float:
    return float("nan") if cell.processor_seconds is None else cell.processor_seconds


def _floating(cell: Cell, group: Sequence[Row]) -> Cell:
    """Return the float network of the same seed."""
    floats = next(row for row in group if row.name == FLOAT)
    return next(other for other in floats.cells if other.seed == cell.seed)


def _aims(found: Sequence[Row], longer: Sequence[Row]) -> list[tuple[str, str, str]]:
    aims = []
    for row in (*found, *longer):
        if row.gaps:
            met = _said(max(map(abs, row.gaps)) <= LARGEST_GAP)
            if met == "no" and abs(statistics.mean(row.gaps)) <= LARGEST_GAP:
                met = "on average, not with every seed"
            name = f"{row.name}, {_shape(row)}: exported within {LARGEST_GAP:g} points of PyTorch"
            aims.append((name, _spread(row.gaps, "+"), met))
    for row in (*found, *longer):
        if row.name in LARGEST_DROP:
            limit = LARGEST_DROP[row.name]
            met = _said(statistics.mean(row.drops) <= limit)
            name = f"{row.name}, {_shape(row)}: at most {limit:.1f} points below float32"
            aims.append((name, _spread(row.drops, "+"), met))
    for row in longer or found:
        if row.name == "W8A8":
            shares = row.shares(exported=True)
            name = f"W8A8, {_shape(row)}: at least {LEAST_TOP1} % with 30 minutes on two cores"
            reached = f"{_spread(shares)} after {_minutes(row, longer or found)} minutes on one"
            aims.append((name, reached, _said(min(shares) >= LEAST_TOP1)))
    return aims


def _speed_aims(speed: Sequence[Speed]) -> list[tuple[str, str, str]]:
    by_name = {one.name: one for one in speed}
    if QUANTIZED not in by_name:
        return []
    ours = by_name[QUANTIZED]
    least = f"training at {LEAST_SPEED:g} of float32's speed or more"
    aims = [(least, f"{ours.middle:.2f} [{ours.low:.2f}, {ours.high:.2f}]", "yes" if ours.low >= LEAST_SPEED else "no")]
    if BREVITAS in by_name:
        theirs = by_name[BREVITAS]
        ratio = ours.images_per_second / theirs.images_per_second
        aims.append(("no slower than with Brevitas' quantizers", f"{ratio:.2f} times as fast", _said(ratio >= 1)))
    return aims


def _said(met: bool) -> str:
    return "yes" if met else "no"


def _speed_lines(speed: Sequence[Speed]) -> list[str]:
    if not speed:
        return []
    return [
        "## Speed of training",
        "",
        "Steps in turns in one process on one thread, by its processor time (benchmarks/training_speed.py; Brevitas",
        "with BREVITAS_JIT=1). Shares are medians over the rounds, between quartiles.",
        "",
        "| network | images per processor second | of float32 |",
        "|---|---:|---:|",
        *(
            f"| {one.name} | {one.images_per_second:,.0f} | {one.middle:.3f} [{one.low:.3f}, {one.high:.3f}] |"
            for one in speed
        ),
        "",
    ]


def _figures(row: Row) -> tuple[str, ...]:
    network, exported = row.cells[0].network, row.shares(exported=True)
    return (
        row.name,
        _spread(row.shares(exported=False)),
        _spread(exported) if exported else "-",
        _spread(row.gaps, "+") if exported else "-",
        _spread(row.drops, "+") if exported else "-",
        "-" if network.nominal is None else format_count(network.nominal),
        "-" if network.executed is None else format_count(network.executed),
    )


def _spread(values: Sequence[float], sign: str = "") -> str:
    return f"{statistics.mean(values):{sign}.2f} ({min(values):{sign}.2f} to {max(values):{sign}.2f})"
