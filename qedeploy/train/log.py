"""What a training leaves to read: train.json, log.csv, curves.svg, and TensorBoard's files where that is installed."""

from __future__ import annotations

import csv
import io
import platform
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qedeploy.figures import write_svg
from qedeploy.files import write_json, write_text

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

FORMAT = "qedeploy-train/1"

Row = Mapping[str, Any]

DOCUMENT = "train.json"


class Log:
    """Writes the rows of a training, one an epoch, into its folder."""

    def __init__(self, folder: Path, settings: Mapping[str, object]) -> None:
        """Write into `folder`; `settings` is plain data that goes into train.json."""
        self.folder = folder
        self._settings = settings
        self._board: SummaryWriter | None = None
        if find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(folder / "tensorboard"))

    def write(self, rows: Sequence[Row]) -> None:
        """Write all rows so far, and the last of them to TensorBoard."""
        write_text(self.folder / "log.csv", _table(rows))
        if self._board is not None and rows:
            row = rows[-1]
            for name in ("loss", "top1", "held_out_top1", "rate"):
                self._board.add_scalar(f"{row['stage']}/{name}", row[name], round(row["epoch"] * 100))

    def finish(self, rows: Sequence[Row], result: Mapping[str, object]) -> None:
        """Write train.json and the curves."""
        if self._board is not None:
            self._board.close()
        document = {"format": FORMAT, **self._settings, "versions": versions(), "epochs": list(rows), **result}
        write_json(self.folder / DOCUMENT, document)
        if rows:
            write_curves(self.folder / "curves.svg", rows)


def versions() -> dict[str, str]:
    """Return the versions of what computes a training."""
    import numpy as np
    import torch

    from qedeploy import __version__

    return {
        "qedeploy": __version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def write_curves(path: Path, rows: Sequence[Row]) -> Path:
    """Write loss and shares of right answers over the epochs of all stages; returns `path`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    offset = 0.0
    for stage in dict.fromkeys(row["stage"] for row in rows):
        chosen = [row for row in rows if row["stage"] == stage]
        epochs = [offset + row["epoch"] for row in chosen]
        left.plot(epochs, [row["loss"] for row in chosen], marker=".", label=stage)
        (line,) = right.plot(
            epochs, [100 * row["held_out_top1"] for row in chosen], marker=".", label=f"{stage}, held out"
        )
        right.plot(
            epochs, [100 * row["top1"] for row in chosen], linestyle=":", color=line.get_color(), label="training"
        )
        offset = epochs[-1]
    left.set_xlabel("epoch")
    left.set_ylabel("training loss")
    right.set_xlabel("epoch")
    right.set_ylabel("top-1, %")
    left.legend(frameon=False)
    right.legend(frameon=False)
    return write_svg(path, figure)


def _table(rows: Sequence[Row]) -> str:
    stream = io.StringIO()
    if rows:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return stream.getvalue()
