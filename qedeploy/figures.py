"""Figures as files: the same figure makes the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qedeploy.files import write_with

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_svg(path: Path, figure: Figure) -> Path:
    """Write `figure` as SVG, without a date and with the same names inside each time; returns `path`."""
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": "qedeploy"}):
        return write_with(path, lambda part: figure.savefig(part, format="svg", metadata={"Date": None}))
