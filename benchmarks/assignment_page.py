"""What `assignment.py` found, as a table and as a page."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from accuracy_page import Cell, Settings

from qedeploy.bench.measure.machine import describe_machine
from qedeploy.files import write_text
from qedeploy.units import format_count

PAGE = "assignment-after-training.md"
DATA = "from data"
NAMES = {"mixed": "QE-Score's widths"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Widths chosen otherwise, and those from data within their BitOps: what both got right with one seed."""

    seed: int
    trained: bool
    other: str
    theirs: Cell
    ours: Cell
    widths: Sequence[str]

    @property
    def points(self) -> float:
        """By how many points of top-1 the widths from data are ahead, in PyTorch."""
        return 100 * (self.ours.pytorch - self.theirs.pytorch) / self.ours.images

    @property
    def exported_points(self) -> float:
        """The same of the exported files."""
        assert self.ours.exported is not None
        assert self.theirs.exported is not None
        return 100 * (self.ours.exported - self.theirs.exported) / self.ours.images

    def line(self) -> str:
        """Return what is printed of it."""
        when = "trained" if self.trained else "without training"
        return (
            f"seed {self.seed}, {when}: {DATA} {self.ours.pytorch} and {self.ours.exported}, {self.other} "
            f"{self.theirs.pytorch} and {self.theirs.exported}; {' '.join(self.widths)}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """Mean gain in points over seeds with a 95 % interval by Student's t, infinite for one seed."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, points: Sequence[float]) -> Gain:
        """Return that of `points`, one for each seed."""
        from scipy import stats

        mean = statistics.fmean(points)
        if len(points) < 2:
            return cls(mean=mean, low=-float("inf"), high=float("inf"))
        reach = stats.t.ppf(0.975, len(points) - 1) * statistics.stdev(points) / len(points) ** 0.5
        return cls(mean=mean, low=mean - float(reach), high=mean + float(reach))

    def __str__(self) -> str:
        return f"{self.mean:+.2f} [{self.low:+.2f}, {self.high:+.2f}]"


def grouped(pairs: Sequence[Pair]) -> Iterator[tuple[str, bool, list[Pair]]]:
    """Yield the pairs of all seeds by what they are held against, without training first."""
    for other in dict.fromkeys(pair.other for pair in pairs):
        for trained in (False, True):
            yield other, trained, [pair for pair in pairs if (pair.other, pair.trained) == (other, trained)]


def print_pairs(pairs: Sequence[Pair]) -> None:
    """Print the gain over each way to choose."""
    for other, trained, group in grouped(pairs):
        gain = Gain.of([pair.points for pair in group])
        print(f"{DATA} over {NAMES.get(other, other)}, {'trained' if trained else 'without training'}: {gain} points")


def write_page(folder: Path, pairs: Sequence[Pair], settings: Settings, command: str) -> Path:
    """Write the page into `folder`; returns it."""
    machine = describe_machine()
    seeds = sorted({pair.seed for pair in pairs})
    lines = [
        "# Do widths chosen from data gain after training?",
        "",
        "`qedeploy quantize model.pth` chooses the width of every layer by what rounding it costs on pictures, within",
        "a budget. Here its choice is held against the same widths in all inner layers, and against the widths that",
        "the search chose by QE-Score, within the BitOps of each, on the same shape and from the same float network;",
        "stem and classifier stay at W8A8. Networks are rounded as they are (`without training`), and trained",
        f"({settings.epochs:g} epochs after {settings.float_epochs:g} in float32, all alike), with {len(seeds)} seeds.",
        "Fashion-MNIST, all 10,000 test images; gains are in points of top-1, the mean over seeds with a 95 % interval",
        "by Student's t.",
        "",
        f"```\n{command}\n```",
        "",
        f"{machine.cpu} ({', '.join(machine.instruction_sets)}), one thread.",
        "",
        "| held against | BitOps | from data | | top-1 there | top-1 from data | gain in PyTorch | gain as exported |",
        "|---|---:|---:|---|---:|---:|---:|---:|",
        *(_row(other, trained, group) for other, trained, group in grouped(pairs)),
        "",
        *_findings(pairs),
        "",
        "## What was chosen",
        "",
        "Pairs from the stem to the classifier, of the first seed.",
        "",
    ]
    for other, _, group in (item for item in grouped(pairs) if item[1]):
        lines.append(f"- within {other}: {' '.join(group[0].widths)}")
    return write_text(folder / PAGE, "\n".join(lines) + "\n")


def _row(other: str, trained: bool, group: Sequence[Pair]) -> str:
    theirs = statistics.fmean(100 * pair.theirs.pytorch / pair.theirs.images for pair in group)
    ours = statistics.fmean(100 * pair.ours.pytorch / pair.ours.images for pair in group)
    nominal = [
        statistics.fmean(cell.network.nominal or 0.0 for cell in cells)
        for cells in ([pair.theirs for pair in group], [pair.ours for pair in group])
    ]
    gains = [Gain.of([pair.points for pair in group]), Gain.of([pair.exported_points for pair in group])]
    return (
        f"| {NAMES.get(other, other)} | {format_count(nominal[0])} | {format_count(nominal[1])} | "
        f"{'trained' if trained else 'without training'} | {theirs:.2f} % | {ours:.2f} % | {gains[0]} | {gains[1]} |"
    )


def _findings(pairs: Sequence[Pair]) -> Iterator[str]:
    for other, trained, group in grouped(pairs):
        gain = Gain.of([pair.points for pair in group])
        if gain.low > 0:
            says = "gains: its whole interval is above zero"
        elif gain.high < 0:
            says = "loses: its whole interval is below zero"
        else:
            says = "is not told apart: the interval holds zero"
        when = "after training" if trained else "without training"
        yield f"- Against {NAMES.get(other, other)}, {when}, the choice from data {says} ({gain} points)."
