"""A device that follows a law, in place of one that must be measured."""

from __future__ import annotations

import numpy as np

from qedeploy.latency.table import LatencyTable, Part, Shape, TablePoint
from qedeploy.network.structure import Bits

W8A8 = Bits(weight=8, activation=8)


def law(shape: Shape) -> float:
    """Seconds: a call, arithmetic that is faster on many channels, and traffic. Nothing the model's terms contain."""
    after = (-(-shape.size // shape.stride)) ** 2
    traffic = 2e-11 * (shape.in_channels * shape.size**2 + shape.out_channels * after)
    fan_in = 1 if shape.part in {Part.DEPTHWISE, Part.SHORTCUT} else shape.in_channels
    work = fan_in * shape.out_channels * shape.kernel**2 * after
    return 2e-6 + traffic + 1e-11 * work * (1 + 8 / (8 + shape.out_channels))


def points(seed: int = 0, count: int = 300, *, parts: tuple[Part, ...] = tuple(Part)) -> list[TablePoint]:
    """Points of random shapes of every part, kernel and stride of the reference's space."""
    random = np.random.default_rng(seed)
    found: dict[Shape, TablePoint] = {}
    for number in range(count):
        part = parts[number % len(parts)]
        into, out = (int(8 * np.rint(np.exp(random.uniform(np.log(1), np.log(80))))) for _ in range(2))
        size = int(random.choice([112, 56, 28, 14, 7]))
        kernel, stride = 1, 1
        if part is Part.DEPTHWISE:
            kernel, stride, into = int(random.choice([3, 5])), int(random.choice([1, 2])), out
        elif part is Part.SHORTCUT:
            stride, into = int(random.choice([1, 2])), out
        elif part is Part.STEM:
            kernel, stride, into, size, out = 3, 2, 3, 224, min(out, 64)
        elif part is Part.HEAD:
            out, size = 1280, 7
        elif part is Part.CLASSIFIER:
            into, out, size = 1280, 1000, 7
        shape = Shape(part=part, in_channels=into, out_channels=out, kernel=kernel, stride=stride, size=size, bits=W8A8)
        found[shape] = TablePoint(shape=shape, seconds=law(shape))
    return list(found.values())


def table(**changes: object) -> LatencyTable:
    """A table of `points` for the profile cpu-int8."""
    given = {"points": tuple(points()), **changes}
    return LatencyTable(
        profile="cpu-int8", device="a law", runtime={"name": "none", "version": "0"}, settings={"threads": 1}, **given
    )
