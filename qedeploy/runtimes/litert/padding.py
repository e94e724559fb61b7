"""Padding as LiteRT can say it: SAME puts the odd pixel behind, networks of PyTorch pad both sides alike."""

from __future__ import annotations

from dataclasses import dataclass

from qedeploy.network.window import Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Padding:
    """SAME or VALID, and by how many rows and columns of zeros the kernel grows behind its end for it."""

    same: bool
    rows: int = 0
    columns: int = 0


def padding(window: Window, size: tuple[int, int]) -> Padding | None:
    """Return how LiteRT moves `window` over an input of `size` with the same result, None where it cannot.

    SAME pads an even size under stride 2 by one pixel less than PyTorch, and that behind: a kernel with a row and a
    column of zeros behind its end makes it start one pixel earlier, where PyTorch does. The alternative, an operator
    that pads, would hold a copy of the whole input in memory.

    >>> padding(Window.square(3, 2), (16, 15))
    Padding(same=True, rows=1, columns=0)
    """
    if not any(window.padding):
        return Padding(same=False)
    output = window.output(size)
    grown = [
        _growth(size[axis], output[axis], window.kernel[axis], window.stride[axis], window.dilation[axis], before)
        for axis, before in enumerate(window.padding[:2])
    ]
    rows, columns = grown
    return None if rows is None or columns is None else Padding(same=True, rows=rows, columns=columns)


def _growth(size: int, output: int, kernel: int, stride: int, dilation: int, before: int) -> int | None:
    if output != -(-size // stride):
        return None
    for growth in range(stride + 1):
        reach = (kernel + growth - 1) * dilation + 1
        if max((output - 1) * stride + reach - size, 0) // 2 == before:
            return growth
    return None
