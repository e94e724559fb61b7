"""Latencies without a device: an arbitrary one to try solvers with, and a table of plausible points."""

from __future__ import annotations

from itertools import product

import numpy as np

from qedeploy.latency.predictor import LatencyModel, Role
from qedeploy.latency.table import LatencyTable, Part, Shape, TablePoint
from qedeploy.network.structure import Bits
from qedeploy.profiles.profile import Profile
from qedeploy.search.space.recipe import Recipe
from qedeploy.search.space.space_builder import build_space

ROLES = list(Role)


class MadeUpLatency(LatencyModel):
    """Times that follow nothing: some layers take none, and more channels, kernels or bits may take less."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.known = {}

    def require(self, kind, bits):
        """Return for any pair."""

    def constant(self, head_channels, classes, size, bits=Bits(weight=8, activation=8)):
        return float(ticks(1e-4 + 1e-6 * (head_channels % 7) + 1e-6 * classes + 1e-7 * size))

    def layer_seconds(
        self,
        role,
        in_channels,
        out_channels,
        kernel,
        stride,
        size,
        bits,
        *,
        shortcut=False,
        block_stride=1,
        padded=True,
    ):
        key = (role, in_channels, out_channels, kernel, stride, size, bits, shortcut, block_stride)
        if all(np.ndim(value) == 0 for value in key):
            if key not in self.known:
                self.known[key] = self._seconds(*key)
            return self.known[key]
        return self._seconds(*key)

    def _seconds(self, role, in_channels, out_channels, kernel, stride, size, bits, shortcut, block_stride):
        mixed = np.multiply(in_channels, 0.37) + np.multiply(out_channels, 0.11) + np.multiply(kernel, 1.3)
        mixed = (
            mixed + 5 * bits.weight + 3 * bits.activation + 0.7 * stride + ROLES.index(role) + 0.9 * size + self.seed
        )
        if role is Role.PROJECT:
            mixed = mixed + np.multiply(shortcut, 2.1) * block_stride
        return ticks(1e-5 * np.maximum(np.sin(mixed) + 0.7, 0.0))


def ticks(seconds):
    return np.rint(np.multiply(seconds, 2.0**40)) / 2.0**40


def plausible_table(profile: Profile, recipe: Recipe, seed: int = 0) -> LatencyTable:
    """A table of every part, kernel, stride and pair of a recipe's space: seconds by arithmetic and traffic, noisy."""
    space, chance = build_space(recipe, profile), np.random.default_rng(seed)
    size = recipe.resolution
    shapes: list[Shape] = []

    def add(part, into, out, kernel, stride, size, bits):
        shapes.append(
            Shape(part=part, in_channels=into, out_channels=out, kernel=kernel, stride=stride, size=size, bits=bits)
        )

    for out in recipe.stem_channels:
        add(Part.STEM, 3, out, recipe.stem_kernel, recipe.stem_stride, size, recipe.stem_bits)
    some = sorted({recipe.channels[0], *(c for c in recipe.channels if c & (c - 1) == 0), recipe.channels[-1]})
    size = -(-size // recipe.stem_stride)
    pairs = {kind.value: found for kind, found in space.pairs.items()}
    for stride in (*recipe.strides, 1):
        for into, out, bits in product(some, some, pairs["pointwise"]):
            add(Part.POINTWISE, into, out, 1, 1, size, bits)
        for out, kernel, each, bits in product(some, recipe.kernels, (1, 2), pairs["depthwise"]):
            add(Part.DEPTHWISE, out, out, kernel, each, size, bits)
        for out, each, bits in product(some, (1, 2), pairs["pointwise"]):
            add(Part.SHORTCUT, out, out, 1, each, size, bits)
        size = -(-size // stride)
    for into, bits in product(some, pairs["head"]):
        add(Part.HEAD, into, recipe.head_channels, 1, 1, size, bits)
    add(Part.CLASSIFIER, recipe.head_channels, recipe.classes, 1, 1, size, recipe.classifier_bits)
    points = tuple(
        TablePoint(shape=shape, seconds=_plausible(shape) * float(chance.uniform(0.97, 1.03)))
        for shape in dict.fromkeys(shapes)
    )
    return LatencyTable(
        profile=profile.name,
        device="made up",
        runtime={"name": "none"},
        settings={"threads": 1},
        points=points,
        date="2026-11-23T10:00:00+00:00",
        recipes=(recipe.name,),
    )


def _plausible(shape: Shape) -> float:
    after = (shape.size / shape.stride) ** 2
    fan_in = 1 if shape.part in {Part.DEPTHWISE, Part.SHORTCUT} else shape.in_channels
    rate = 20e9 if shape.part in {Part.DEPTHWISE, Part.SHORTCUT} else 150e9
    products = fan_in * shape.out_channels * shape.kernel**2 * after
    narrow = (shape.bits.weight + shape.bits.activation) / 16
    return 2e-6 + products * narrow / rate + (shape.in_channels * shape.size**2 + shape.out_channels * after) / 60e9
