"""Where a grid lies in int8: its largest integer is 127, so that saturation does what a narrower range would cost."""

from __future__ import annotations

from qedeploy.qdq.plan import Grid

LOWEST, HIGHEST = -128, 127
"""What int8 holds."""


def zero_point(grid: Grid) -> int:
    """Return the int8 integer that stands for zero: -128 for 8 unsigned bits, 0 for 8 signed ones.

    Values over the grid saturate at 127 in every kernel, whatever the grid's width is; what is left to bound is the
    lower end, which a fused ReLU does for grids that start at zero.
    """
    return HIGHEST - grid.high


def lowest(grid: Grid) -> int:
    """Return the int8 integer of the grid's lower end."""
    return grid.low + zero_point(grid)
