"""What layers in integers save beside each other: conversions that vanish where all around them is in integers too.

While one layer alone is in integers, its kernel stands between conversions: before it numbers are quantized and laid
out anew, behind it the reverse is done, and an activation that was part of the floating-point kernel is a node of its
own. Measuring that layer measures them too. Whatever moves or combines numbers between layers, an addition or a
concatenation, joins what it reads and makes into one place. Conversions into a place and out of it go where all that
makes and reads it is in integers and the operators between are computed in integers then. Where floating-point
arithmetic stays between, numbers are still converted, but not laid out anew. Which shares of the conversions go is the
same throughout the network, and fitted to sets of layers that were measured together. So is what a layer takes among
others besides: in the profiler's times of nodes small ones look longer than they are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from qedeploy.campaign.quantization.measurement import LayerMeasurement, SetMeasurement
from qedeploy.export.onnx_networks.quantized_graph import can_carry
from qedeploy.export.onnx_networks.quantizer import Quantizer
from qedeploy.search.assign.problem import FLOAT, Saving

_MINOR = 1 / 16
"""Share of the numbers that are laid out anew under which it does not matter what makes or reads them: gates of
squeeze-and-excitation, a number for each channel."""


_SET_DOUBT, _OWN_DOUBT, _LEAST_DOUBT = 0.005, 0.3, 0.002
"""By how much measurements may be wrong: of a set and of a layer at least, as shares of the float network's time; of a
layer also as a share of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversions:
    """What is converted before the kernel of `layer`, or `behind` it.

    The `layout` stays as long as one of the layers `around` is in float32. The numbers stay as long as one of `within`
    is, which are more; None where floating-point arithmetic lies between whatever is in integers.
    """

    layer: str
    behind: bool
    around: tuple[str, ...]
    within: tuple[str, ...] | None

    def seconds(self, alone: Sequence[LayerMeasurement]) -> float:
        """Return what they take while the layer alone is in integers, the least of its precisions."""
        mine = (item for item in alone if item.layer == self.layer)
        return min((item.seconds_behind if self.behind else item.seconds_before for item in mine), default=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Savings:
    """Shares of the conversions that are saved, for their `layout` and for their `numbers`, and how well that fits.

    `corrections` are what layers take more among others than alone, by layer and precision (seconds); `worst` is the
    largest difference between fitted and measured time of a set, as a share of the float network's time.
    """

    layout: float
    numbers: float
    corrections: Mapping[tuple[str, str], float]
    worst: float
    sets: int


def find_conversions(quantizer: Quantizer) -> tuple[Conversions, ...]:
    """Return the conversions that can vanish, in execution order of the layers."""
    layers, places = quantizer.layers, _Places(quantizer)
    made = {name: places.of(value) for name, value in places.made.items()}
    read = {name: places.of(layer.source) for name, layer in layers.items()}
    found: list[Conversions] = []
    for name, layer in layers.items():
        for behind, value in ((False, layer.source), (True, places.made[name])):
            place = places.of(value)
            least = places.numbers(value) * _MINOR
            makers = [other for other in layers if made[other] == place]
            readers = [other for other in layers if read[other] == place]
            if not makers or not readers:
                continue
            near = [other for other in makers if places.numbers(places.made[other]) >= least]
            if behind:
                near = [other for other in readers if places.numbers(layers[other].source) >= least]
            around = tuple(other for other in near if other != name)
            within = tuple(dict.fromkeys(other for other in (*makers, *readers) if other != name))
            if around:
                found.append(
                    Conversions(
                        layer=name, behind=behind, around=around, within=within if places.carried(place) else None
                    )
                )
    return tuple(found)


def fit_savings(
    conversions: Sequence[Conversions],
    alone: Sequence[LayerMeasurement],
    sets: Sequence[SetMeasurement],
    whole: float,
) -> Savings:
    """Return which shares of the conversions are saved, by least squares: nothing negative, together at most all.

    What is left is spread over the layers of each set, as far as their own times may be wrong. `whole` is the float
    network's time (seconds).
    """
    from scipy.optimize import lsq_linear

    seconds = {(item.layer, item.precision): item.seconds for item in alone}
    keys = list(seconds)
    parts = [savings(conversions, alone, layout, numbers) for layout, numbers in ((1.0, 0.0), (0.0, 1.0))]
    rows, missing = [], []
    for item in sets:
        quantized = {name for name, precision in item.precisions.items() if precision != FLOAT}
        rows.append(
            [sum(one.seconds for one in part if quantized.issuperset(one.layers)) / whole for part in parts]
            + [-1.0 if precision == item.precisions.get(name) else 0.0 for name, precision in keys]
        )
        missing.append((sum(seconds[name, item.precisions[name]] for name in quantized) - item.seconds) / whole)
    matrix, target = np.asarray(rows, np.float64).reshape(len(rows), 2 + len(keys)), np.asarray(missing, np.float64)
    found = np.zeros(2 + len(keys))
    if matrix.any():
        # As (layout, all that is saved), so that the bounds hold each of them and their sum.
        fitted = matrix.copy()
        fitted[:, 0] -= fitted[:, 1]
        doubts = np.asarray([_OWN_DOUBT * abs(seconds[key]) / whole + _LEAST_DOUBT for key in keys])
        held = np.hstack([np.zeros((len(keys), 2)), np.diag(_SET_DOUBT / doubts)])
        infinite = np.full(len(keys), np.inf)
        bounds = (np.concatenate([[0.0, 0.0], -infinite]), np.concatenate([[1.0, 1.0], infinite]))
        found = lsq_linear(np.vstack([fitted, held]), np.concatenate([target, np.zeros(len(keys))]), bounds).x
        found[:2] = min(found[0], found[1]), max(found[1] - found[0], 0.0)
    left = np.abs(matrix @ found - target).max(initial=0.0)
    return Savings(
        layout=float(found[0]),
        numbers=float(found[1]),
        corrections={key: float(value) * whole for key, value in zip(keys, found[2:], strict=True)},
        worst=float(left),
        sets=len(sets),
    )


def savings(
    conversions: Sequence[Conversions], alone: Sequence[LayerMeasurement], layout: float, numbers: float
) -> tuple[Saving, ...]:
    """Return what layers save together where these shares of the conversions go."""
    found = []
    for item in conversions:
        seconds = item.seconds(alone)
        found.append(Saving(layers=(item.layer, *item.around), seconds=seconds * layout))
        if item.within is not None:
            found.append(Saving(layers=(item.layer, *item.within), seconds=seconds * numbers))
    return tuple(item for item in found if item.seconds > 0)


class _Places:
    """Values that nothing but operators between layers lies between, as one place."""

    def __init__(self, quantizer: Quantizer) -> None:
        self._editor = quantizer.editor
        self._parents: dict[str, str] = {}
        self._float: set[str] = set()
        self.made: dict[str, str] = {}
        """What the node of each layer makes, which its activation may still follow."""
        own = {layer.activation for layer in quantizer.layers.values()}
        for node in self._editor.nodes:
            if node.name in quantizer.layers:
                self.made[node.name] = node.output[0]
                continue
            first, *others = [value for value in (*self._editor.computed_inputs(node), *node.output) if value]
            for value in others:
                self._parents[self.of(value)] = self.of(first)
            if node.name not in own and not can_carry(self._editor, node, quantizer.grids, quantizer.readings):
                self._float.add(first)

    def of(self, value: str) -> str:
        """Return the value that stands for the place of `value`."""
        while (parent := self._parents.get(value, value)) != value:
            self._parents[value] = value = self._parents.get(parent, parent)
        return value

    def carried(self, place: str) -> bool:
        """Return whether all operators of a place can be computed in integers."""
        return place not in {self.of(value) for value in self._float}

    def numbers(self, value: str) -> int:
        """Return how many numbers `value` has, 0 where that is not known."""
        return math.prod(self._editor.shape(value) or (0,))
