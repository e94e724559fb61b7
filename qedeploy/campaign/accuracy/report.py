"""An accuracy study as JSON, CSV, one plot, and sentences."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qedeploy.campaign.accuracy.analysis import CONFIDENCE, RESAMPLES, ArmNetwork, ArmResult, Interval
from qedeploy.campaign.accuracy.estimates import Known
from qedeploy.campaign.accuracy.question import AccuracyCorrelation
from qedeploy.figures import write_svg
from qedeploy.files import write_json, write_text
from qedeploy.network.structure_file import to_document
from qedeploy.publishing import together
from qedeploy.words import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMAT = "qedeploy-accuracy-correlation/1"
JSON_FILE, PLOT_FILE, CSV_FILE = "correlation.json", "correlation.svg", "correlation.csv"
_SCALES = {
    Known.PARAMETERS: (1e3, "thousand parameters"),
    Known.MACS: (1e6, "M MACs"),
    Known.BITOPS: (1e6, "nominal MBitOps"),
    Known.EXECUTED: (1e6, "executed MBitOps"),
    Known.SIZE: (1e3, "parameter kB"),
    Known.LATENCY: (1e-3, "predicted ms"),
}


def write_accuracy_correlation(folder: Path, result: AccuracyCorrelation) -> tuple[Path, Path, Path]:
    """Write correlation.json, correlation.svg and correlation.csv into `folder`; returns them."""
    with together(folder):
        return (
            write_json(folder / JSON_FILE, document(result)),
            draw_accuracy(folder / PLOT_FILE, result),
            write_text(folder / CSV_FILE, rows_as_csv(result)),
        )


def document(result: AccuracyCorrelation) -> dict[str, Any]:
    """Return a study as JSON-ready data."""
    asked = result.question.document()
    return {
        "format": FORMAT,
        **asked,
        "data": {"path": str(result.question.data), **asked["data"]},
        "confidence": CONFIDENCE,
        "resamples": RESAMPLES,
        "results": [_arm_document(arm) for arm in result.arms],
    }


def rows_as_csv(result: AccuracyCorrelation) -> str:
    """Return one line for each network of each arm: its mean top-1, that of each seed, and all that was known of it."""
    names = list(result.arms[0].networks[0].known)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["arm", "network", "top1", "top1_by_seed", *(name.value for name in names)])
    for arm in result.arms:
        for network in arm.networks:
            by_seed = " ".join(str(one.top1) for one in network.trained)
            known = [network.known.get(name, "") for name in names]
            writer.writerow([arm.arm.value, network.trained[0].key, network.top1, by_seed, *known])
    return stream.getvalue()


def sentences(arm: ArmResult) -> tuple[str, ...]:
    """Return what an arm says, in words: how the score orders accuracy, beside the rest and the ceiling."""
    score = arm.order(Known.SCORE)
    found = [f"{arm.arm}: {arm.arm.meaning}; {_spread(arm)}."]
    if score.kendall is None:
        found.append("The score is the same for all networks: it orders nothing here.")
    else:
        noise = arm.noise
        most = f", of at most {noise.ceiling} that the noise of seeds leaves" if noise is not None else ""
        found.append(f"The score orders accuracy with a Kendall of {score.kendall}{most}: {_verdict(score.kendall)}.")
    others = [item for item in arm.orders if item.known is not Known.SCORE and item.kendall is not None]
    if others:
        best = max(others, key=lambda item: item.kendall.value if item.kendall is not None else -math.inf)
        above = "" if best.score_above is None else f"; the score is {_apart(best.score_above)}"
        found.append(f"The best of the other figures is {best.known} with {best.kendall}{above}.")
    if arm.noise is None:
        found.append("One seed: how much of the order is noise is not known.")
    else:
        found.append(
            f"One training varies by {100 * arm.noise.deviation:.2f} points (standard deviation) by its seed alone; "
            f"one seed's order agrees with another's with a Kendall of {arm.noise.repeat:+.2f}."
        )
    if arm.halfway is not None:
        found.append(
            f"The order at half of the epochs agrees with that at their end with a Kendall of {arm.halfway:+.2f} "
            "(held-out pictures)."
        )
    if arm.failures:
        found.append(f"{counted(len(arm.failures), 'training')} failed: {arm.failures[0].failure}")
    if arm.lost:
        found.append(f"{counted(arm.lost, 'network')} came to no accuracy and is in no figure.")
    return tuple(found)


def draw_accuracy(path: Path, result: AccuracyCorrelation) -> Path:
    """Draw one row for each arm, as an SVG: all orders with their intervals, then accuracy against three figures."""
    from matplotlib.figure import Figure

    rows = len(result.arms)
    figure = Figure(figsize=(15.0, 3.7 * rows), layout="constrained")
    panels = figure.subplots(rows, 4, squeeze=False, width_ratios=[1.5, 1, 1, 1])
    for arm, line in zip(result.arms, panels, strict=True):
        _draw_orders(line[0], arm)
        shown = [Known.SCORE, *_others_shown(arm)]
        for axes, known in zip(line[1:], shown, strict=False):
            _draw_networks(axes, arm, known)
        for axes in line[1 + len(shown) :]:
            axes.set_visible(False)
    return write_svg(path, figure)


def _others_shown(arm: ArmResult) -> list[Known]:
    """Return the two figures other than the score that order accuracy best."""
    others = [item for item in arm.orders if item.known is not Known.SCORE and item.kendall is not None]
    others.sort(key=lambda item: -item.kendall.value if item.kendall is not None else 0.0)
    return [item.known for item in others[:2]]


def _draw_orders(axes: Axes, arm: ArmResult) -> None:
    shown = [item for item in arm.orders if item.kendall is not None]
    if arm.noise is not None:
        ceiling = arm.noise.ceiling
        axes.axvspan(ceiling.low, ceiling.high, color="tab:green", alpha=0.15, label="ceiling by the noise of seeds")
        axes.axvline(ceiling.value, color="tab:green", linewidth=1)
    for place, item in enumerate(shown):
        kendall = item.kendall
        assert kendall is not None
        color = "tab:red" if item.known is Known.SCORE else "tab:blue"
        axes.plot([kendall.low, kendall.high], [place, place], color=color, linewidth=1.5)
        axes.plot([kendall.value], [place], "o", color=color, markersize=5)
    axes.axvline(0, color="black", linewidth=0.8, linestyle=":")
    axes.set_yticks(range(len(shown)), [item.known.value for item in shown])
    axes.invert_yaxis()
    axes.set_xlim(-1.05, 1.05)
    axes.set_xlabel("Kendall's tau-b with top-1, 95 % interval")
    axes.set_title(f"{arm.arm}: {len(arm.networks)} networks, {_seeds(arm)}", fontsize=10)
    if arm.noise is not None:
        axes.legend(loc="lower left", fontsize=8)


def _draw_networks(axes: Axes, arm: ArmResult, known: Known) -> None:
    scale, label = _SCALES.get(known, (1.0, known.value))
    for network in arm.networks:
        x, shares = network.known[known] / scale, [100 * one.top1 for one in network.trained]
        axes.plot([x, x], [min(shares), max(shares)], color="tab:blue", linewidth=1, alpha=0.6)
        axes.plot([x], [100 * network.top1], "o", color="tab:blue", markersize=4)
    kendall = arm.order(known).kendall
    axes.set_title("the same for all" if kendall is None else f"Kendall {kendall}", fontsize=10)
    axes.set_xlabel(label)
    axes.set_ylabel("top-1, %, mean and range of seeds", fontsize=8)
    axes.grid(visible=True, alpha=0.2)


def _spread(arm: ArmResult) -> str:
    shares = [100 * network.top1 for network in arm.networks]
    scores = [network.known[Known.SCORE] for network in arm.networks]
    images = arm.networks[0].trained[0].images
    return (
        f"{len(arm.networks)} networks with scores from {min(scores):.0f} to {max(scores):.0f}, {_seeds(arm)}, top-1 "
        f"from {min(shares):.2f}% to {max(shares):.2f}% of {images:,} images"
    )


def _seeds(arm: ArmResult) -> str:
    counts = sorted({len(network.trained) for network in arm.networks})
    return f"{'-'.join(map(str, counts))} seed{'s' if counts != [1] else ''} each"


def _verdict(kendall: Interval) -> str:
    if kendall.low > 0:
        return "better than chance"
    if kendall.high < 0:
        return "in the wrong order"
    return "not told from chance with so few networks"


def _apart(above: Interval) -> str:
    side = "below" if above.value < 0 else "above"
    clear = "" if above.low * above.high > 0 else ", which is not told from none"
    return f"{abs(above.value):.2f} {side} it, [{above.low:+.2f}, {above.high:+.2f}]{clear}"


def _arm_document(arm: ArmResult) -> dict[str, Any]:
    noise = None
    if arm.noise is not None:
        noise = dataclasses.asdict(arm.noise)
        noise["repeat"] = None if np.isnan(arm.noise.repeat) else arm.noise.repeat
    return {
        "arm": arm.arm.value,
        "orders": [dataclasses.asdict(item) for item in arm.orders],
        "noise": noise,
        "halfway": arm.halfway,
        "lost": arm.lost,
        "failures": [dataclasses.asdict(item) for item in arm.failures],
        "networks": [_network_document(network) for network in arm.networks],
    }


def _network_document(network: ArmNetwork) -> dict[str, Any]:
    return {
        "key": network.trained[0].key,
        "top1": network.top1,
        "known": {known.value: value for known, value in network.known.items()},
        "trained": [
            {key: value for key, value in dataclasses.asdict(one).items() if key != "key"} for one in network.trained
        ],
        "structure": to_document(network.structure),
    }
