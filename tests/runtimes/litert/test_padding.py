"""LiteRT's SAME against PyTorch's padding on both sides."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from qedeploy.network.window import Window
from qedeploy.runtimes.litert.padding import padding


@given(st.sampled_from([1, 3, 5, 7]), st.integers(1, 3), st.integers(1, 20), st.integers(1, 20))
def test_a_grown_kernel_reads_what_pytorch_reads(kernel, stride, height, width):
    window = Window.square(kernel, stride)
    found = padding(window, (height, width))
    assert found is not None
    image = torch.arange(height * width, dtype=torch.float64).reshape(1, 1, height, width) + 1
    weight = torch.arange(kernel * kernel, dtype=torch.float64).reshape(1, 1, kernel, kernel) + 1
    expected = functional.conv2d(image, weight, stride=stride, padding=kernel // 2)
    grown = functional.pad(weight, (0, found.columns, 0, found.rows))
    rows, columns = (same(size, grown.shape[2 + axis], stride) for axis, size in enumerate((height, width)))
    padded = functional.pad(image, (*columns, *rows)) if found.same else image
    torch.testing.assert_close(functional.conv2d(padded, grown, stride=stride), expected)


def same(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's definition: as many outputs as strides begin in the input, the odd pixel behind."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def test_padding_that_is_not_around_the_middle_cannot_be_said():
    assert padding(Window(kernel=(3, 3), padding=(2, 2, 0, 0)), (8, 8)) is None
    assert padding(Window(kernel=(3, 3), padding=(2, 2, 2, 2)), (8, 8)) is None
