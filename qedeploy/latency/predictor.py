"""Seconds of layers and structures, read between the points of a latency table.

A latency is additive here: a constant, plus one term for each layer, which carries its block's shortcut where it is the
last one. That is what both solvers need, and what a runtime that executes one layer after the other does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qedeploy.errors import RequestError
from qedeploy.latency.curve import Curve, CurveError
from qedeploy.latency.shapes import shapes_of
from qedeploy.latency.table import LatencyTable, Part, Shape, TablePoint
from qedeploy.network.graph import Graph
from qedeploy.network.layers import Layer, LayerCategory, Position, round_up
from qedeploy.network.padding import inner_layers
from qedeploy.network.shortcuts import shortcuts
from qedeploy.network.structure import Bits
from qedeploy.profiles.profile import Lowering, Profile


class Role(StrEnum):
    """Where in a network a layer stands."""

    STEM = "stem"
    EXPAND = "expand"
    DEPTHWISE = "depthwise"
    PROJECT = "project"
    HEAD = "head"


_PARTS = {
    Role.STEM: Part.STEM,
    Role.EXPAND: Part.POINTWISE,
    Role.DEPTHWISE: Part.DEPTHWISE,
    Role.PROJECT: Part.POINTWISE,
    Role.HEAD: Part.HEAD,
}
_KINDS = {
    Part.STEM: LayerCategory.STEM,
    Part.POINTWISE: LayerCategory.POINTWISE,
    Part.DEPTHWISE: LayerCategory.DEPTHWISE,
    Part.SHORTCUT: LayerCategory.POINTWISE,
    Part.HEAD: LayerCategory.HEAD,
    Part.CLASSIFIER: LayerCategory.CLASSIFIER,
}

Arithmetic = tuple[Lowering, bool]
"""What decides a time among widths: the lowering, and whether activations are clipped to a narrower range."""

_Key = tuple[Part, int, int, Arithmetic]


class LatencyModel:
    """The table of one profile as functions. Built once; every call with equal arguments returns equal figures."""

    def __init__(self, table: LatencyTable, profile: Profile) -> None:
        self.table = table
        self.profile = profile
        grouped: dict[_Key, list[TablePoint]] = defaultdict(list)
        for point in table.points:
            shape = point.shape
            grouped[shape.part, shape.kernel, shape.stride, arithmetic(profile, _KINDS[shape.part], shape.bits)].append(
                point
            )
        self._curves = {key: Curve(key[0], points) for key, points in grouped.items()}

    def require(self, kind: LayerCategory, bits: Bits) -> None:
        """Raise RequestError where the table has no points for layers of `kind` at `bits`."""
        wanted = arithmetic(self.profile, kind, bits)
        if not any(_KINDS[key[0]] is kind and key[3] == wanted for key in self._curves):
            raise RequestError(
                f"the latency table of {self.profile.name} ({self.table.device}) has no {kind} layers at {bits}: "
                f"measure them with `qedeploy measure --profile {self.profile.name}` and the recipe searched for"
            )

    def errors(self) -> Mapping[str, CurveError]:
        """Return for each kind of part how far its own points are from what the others predict."""
        return {_describe(key): curve.error for key, curve in sorted(self._curves.items(), key=str)}

    def constant(self, head_channels: int, classes: int, size: int, bits: Bits = Bits(weight=8, activation=8)) -> float:
        """Return the seconds that every structure pays: pooling of `size` pixels, classifier at `bits`, the call."""
        calibration = self.table.calibration
        own = self.part_seconds(Part.CLASSIFIER, head_channels, classes, 1, 1, size, bits)
        weights = head_channels * classes * self._weight_bytes(Part.CLASSIFIER, bits)
        return float(
            _ticks(
                calibration.constant
                + calibration.scale_of(Part.CLASSIFIER) * own
                + calibration.seconds_per_weight_byte * weights
            )
        )

    def layer_seconds(
        self,
        role: Role,
        in_channels: ArrayLike,
        out_channels: ArrayLike,
        kernel: ArrayLike,
        stride: int,
        size: int,
        bits: Bits,
        *,
        shortcut: ArrayLike = False,
        block_stride: int = 1,
        padded: bool = True,
    ) -> NDArray[np.float64]:
        """Return seconds of layers, never negative, in the broadcast shape of the array arguments.

        `size` is the layer's square input in pixels; channels are those of the structure. A project layer takes its
        block's shortcut with it where `shortcut`; `block_stride` is that of the block. `padded` says that the channels
        inside the block are padded as the table's dialect pads them, which a block without an expand layer is not.
        Raises RequestError where the table has nothing of the kind.
        """
        part = _PARTS[role]
        multiple = self.table.bottleneck_multiple if padded else 1
        inputs, outputs = np.asarray(in_channels, np.int64), np.asarray(out_channels, np.int64)
        executed_in = round_up(inputs, multiple) if role in {Role.DEPTHWISE, Role.PROJECT} else inputs
        executed_out = round_up(outputs, multiple) if role in {Role.EXPAND, Role.DEPTHWISE} else outputs
        own = self.part_seconds(part, executed_in, executed_out, kernel, stride, size, bits)
        calibration = self.table.calibration
        scaled = calibration.scale_of(part) * own
        if role is Role.PROJECT and np.any(shortcut):
            added = self.part_seconds(Part.SHORTCUT, out_channels, out_channels, 1, block_stride, size, bits)
            scaled = scaled + np.where(shortcut, calibration.scale_of(Part.SHORTCUT) * added, 0.0)
        fan_in = np.asarray(1) if role is Role.DEPTHWISE else executed_in
        weights = fan_in * executed_out * np.square(kernel) * self._weight_bytes(part, bits)
        return _ticks(scaled + calibration.seconds_per_weight_byte * weights)

    def part_seconds(
        self,
        part: Part,
        in_channels: ArrayLike,
        out_channels: ArrayLike,
        kernel: ArrayLike,
        stride: int,
        size: int,
        bits: Bits,
    ) -> NDArray[np.float64]:
        """Return seconds of parts as the points have them: channels as executed, nothing calibrated."""
        kernels = np.unique(kernel).tolist()
        computed = arithmetic(self.profile, _KINDS[part], bits)
        found = [self._curve(part, each, stride, computed).seconds(in_channels, out_channels, size) for each in kernels]
        if len(kernels) == 1:
            return np.broadcast_to(found[0], np.broadcast_shapes(found[0].shape, np.shape(kernel)))
        return np.asarray(np.select([np.equal(kernel, each) for each in kernels], found))

    def shape_seconds(self, shape: Shape) -> float:
        """Return seconds of one part as `part_seconds` does."""
        found = self.part_seconds(
            shape.part, shape.in_channels, shape.out_channels, shape.kernel, shape.stride, shape.size, shape.bits
        )
        return float(found)

    def seconds(self, graph: Graph) -> float:
        """Return the predicted latency of one query with a whole network."""
        return sum(self.seconds_by_layer(graph).values())

    def seconds_by_layer(self, graph: Graph) -> dict[str, float]:
        """Return predicted seconds by layer name; shortcuts count for a pointwise layer, the call for the classifier.

        Raises RequestError where the table has nothing of a layer's kind, or the network has no classifier.
        """
        shapes, inner = shapes_of(graph, 1), inner_layers(graph)
        if not any(shape.part is Part.CLASSIFIER for shape in shapes.values()):
            raise RequestError("latency table: the network has no classifier, with which a table counts the call")
        cuts = {cut.layer.name: shapes[cut.name] for cut in shortcuts(graph)}
        found = {}
        for step in graph.operations:
            if step.layer is not None:
                padded = not inner.isdisjoint((step.name, step.inputs[0]))
                role = _role(step.layer, inner)
                found[step.name] = self._layer(role, shapes[step.name], cuts.get(step.name), padded=padded)
        return found

    def _layer(self, role: Role | None, shape: Shape, shortcut: Shape | None, *, padded: bool) -> float:
        channels = shape.in_channels, shape.out_channels
        if role is None:
            return self.constant(*channels, shape.size, shape.bits)
        return float(
            self.layer_seconds(
                role,
                *channels,
                shape.kernel,
                shape.stride,
                shape.size,
                shape.bits,
                shortcut=shortcut is not None,
                block_stride=1 if shortcut is None else shortcut.stride,
                padded=padded,
            )
        )

    def _weight_bytes(self, part: Part, bits: Bits) -> float:
        lowering = arithmetic(self.profile, _KINDS[part], bits)[0]
        # Weights that are kept narrower than they are computed in are read narrow.
        width = bits.weight if lowering is Lowering.INT4_WEIGHT_ONLY else lowering.executed(bits).weight
        return width / 8

    def _curve(self, part: Part, kernel: int, stride: int, computed: Arithmetic) -> Curve:
        found = self._curves.get((part, kernel, stride, computed))
        if found is None:
            raise RequestError(
                f"the latency table of {self.profile.name} ({self.table.device}) has no "
                f"{_describe((part, kernel, stride, computed))}: measure them with `qedeploy measure --profile "
                f"{self.profile.name}` and the recipe searched for"
            )
        return found


def _ticks(seconds: ArrayLike) -> NDArray[np.float64]:
    """Return `seconds` as whole multiples of 2^-40, about a picosecond.

    Sums of these are exact in any order: both solvers and `seconds` agree to the last bit on what keeps a limit.
    """
    return np.asarray(np.rint(np.multiply(seconds, 2.0**40)) / 2.0**40)


def _role(layer: Layer, inner: Collection[str]) -> Role | None:
    """Return where `layer` stands, None for the classifier; `inner` are layers whose output stays within a block."""
    if layer.position is Position.CLASSIFIER:
        return None
    if layer.category is not LayerCategory.POINTWISE:
        return Role(layer.category.value)
    return Role.EXPAND if layer.name in inner else Role.PROJECT


def arithmetic(profile: Profile, kind: LayerCategory, bits: Bits) -> Arithmetic:
    """Return how `profile` computes layers of `kind` at `bits`; raises RequestError for a pair that it lacks."""
    precision = profile.precision(kind, bits)
    if precision is None:
        offered = ", ".join(map(str, profile.pairs(kind))) or "none"
        raise RequestError(f"latency table: profile {profile.name} has no {bits} for {kind} layers; it has {offered}")
    return precision.lowering, bits.activation < precision.lowering.executed(bits).activation


def _describe(key: _Key) -> str:
    part, kernel, stride, (lowering, clipped) = key
    return f"{part} k{kernel} s{stride} {lowering}{' clipped' if clipped else ''}"
