"""The window that a convolution moves over its input: kernel, stride, padding and dilation, in height and width."""

from __future__ import annotations

from dataclasses import dataclass

Pair = tuple[int, int]
"""A value for height and one for width."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What a convolution reads for each output. `padding` is in pixels: top, left, bottom, right."""

    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: Pair = (1, 1)

    def __post_init__(self) -> None:
        if min(*self.kernel, *self.stride, *self.dilation) < 1 or min(self.padding) < 0:
            raise ValueError(f"expected sizes of at least 1 and padding of at least 0, found {self}")

    @classmethod
    def square(cls, kernel: int, stride: int) -> Window:
        """Return the window of an odd `kernel` that is padded so that only `stride` makes its output smaller.

        >>> Window.square(3, 2).output((15, 16))
        (8, 8)
        """
        return cls(kernel=(kernel, kernel), stride=(stride, stride), padding=(kernel // 2,) * 4)

    @property
    def kernel_area(self) -> int:
        """Values that it reads of each input channel."""
        return self.kernel[0] * self.kernel[1]

    @property
    def stride_area(self) -> int:
        """Pixels of input for each pixel of output."""
        return self.stride[0] * self.stride[1]

    @property
    def symmetric(self) -> bool:
        """Whether it pads as much above as below and as much left as right."""
        return self.padding[:2] == self.padding[2:]

    @property
    def same(self) -> bool:
        """Whether it is the `square` window of its kernel and stride."""
        return self.kernel[0] % 2 == 1 and self == Window.square(self.kernel[0], self.stride[0])

    def output(self, size: Pair) -> Pair:
        """Return height and width of what it makes of an input of `size`."""
        height, width = (
            (pixels + before + after - dilation * (kernel - 1) - 1) // stride + 1
            for pixels, before, after, kernel, stride, dilation in zip(
                size, self.padding[:2], self.padding[2:], self.kernel, self.stride, self.dilation, strict=True
            )
        )
        return height, width


POINT = Window()
"""The window of a 1x1 convolution, and of a matrix product."""
