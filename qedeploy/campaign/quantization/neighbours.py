"""What layers in integers save beside each other: conversions that vanish between them, fitted to measured sets.

Four kinds of neighbours: one reads what the other makes; there are operators between them that can be in integers too;
there is floating-point arithmetic between them (the layout still stays); both read the same value. Each kind saves so
much for every number of the value, everywhere alike.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from qedeploy.campaign.quantization.measurement import SetMeasurement
from qedeploy.export.onnx_networks.integer_layers import IntegerLayer, grid_roots
from qedeploy.export.onnx_networks.quantized_graph import can_carry
from qedeploy.export.onnx_networks.quantizer import Quantizer
from qedeploy.search.assign.problem import FLOAT, Pair

_FARTHEST = 8
"""Operators between two layers beyond which nothing is shared."""

_DEAREST = 6.0
"""How many times as much as all kinds together one kind may save for each number."""


class Neighbourhood(StrEnum):
    """How two layers are neighbours."""

    DIRECT = "direct"
    CARRIED = "through integer operators"
    THROUGH_FLOAT = "through float operators"
    SAME_INPUT = "same input"


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbours:
    """Two layers and the numbers in the value between them."""

    first: str
    second: str
    kind: Neighbourhood
    numbers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Savings:
    """Seconds that each kind of neighbours saves for each number between them, and how well that fits.

    `worst` is the largest difference between fitted and measured time of a set, as a share of the float network's time.
    """

    per_number: Mapping[Neighbourhood, float]
    worst: float
    sets: int


def find_neighbours(quantizer: Quantizer) -> tuple[Neighbours, ...]:
    """Return all pairs of layers that can save something, each once, in execution order."""
    editor, layers = quantizer.editor, quantizer.layers
    roots = grid_roots(editor)
    order = {name: index for index, name in enumerate(layers)}
    found: dict[tuple[str, str], Neighbours] = {}

    def add(first: IntegerLayer, second: IntegerLayer, kind: Neighbourhood) -> None:
        key = (first.name, second.name)
        if order[first.name] < order[second.name] and key not in found:
            numbers = math.prod(editor.shape(second.source) or (0,))
            found[key] = Neighbours(first=first.name, second=second.name, kind=kind, numbers=numbers)

    for layer in layers.values():
        for other, carried in _reached(quantizer, layer):
            direct = roots.get(other.source, other.source) == roots.get(layer.result, layer.result)
            add(
                layer,
                other,
                Neighbourhood.DIRECT if direct else Neighbourhood.CARRIED if carried else Neighbourhood.THROUGH_FLOAT,
            )
    readers: dict[str, list[IntegerLayer]] = {}
    for layer in layers.values():
        readers.setdefault(roots.get(layer.source, layer.source), []).append(layer)
    for group in readers.values():
        for index, first in enumerate(group):
            for second in group[index + 1 :]:
                add(first, second, Neighbourhood.SAME_INPUT)
    return tuple(found.values())


def fit_savings(
    neighbours: Sequence[Neighbours],
    alone: Mapping[tuple[str, str], float],
    sets: Sequence[SetMeasurement],
    whole: float,
) -> Savings:
    """Return what neighbours save, by least squares: nothing negative, nor far more than all kinds save together.

    `alone` is the measured time of each (layer, precision) by itself, `whole` the float network's time (seconds).
    """
    from scipy.optimize import lsq_linear

    kinds = list(Neighbourhood)
    rows, missing = [], []
    for item in sets:
        quantized = {name for name, precision in item.precisions.items() if precision != FLOAT}
        numbers = dict.fromkeys(kinds, 0)
        for pair in neighbours:
            if pair.first in quantized and pair.second in quantized:
                numbers[pair.kind] += pair.numbers
        rows.append([numbers[kind] for kind in kinds])
        missing.append(sum(alone[name, item.precisions[name]] for name in quantized) - item.seconds)
    matrix = np.asarray(rows, np.float64).reshape(len(rows), len(kinds))
    totals = matrix.sum(axis=1)
    # Neighbours of few numbers would else be made to explain what the others leave, at any price for each.
    together = max((saved / total for saved, total in zip(missing, totals, strict=True) if total > 0), default=0.0)
    solution = np.zeros(len(kinds))
    if together > 0:
        scale = matrix.max()
        fitted = lsq_linear(matrix / scale, np.asarray(missing), bounds=(0.0, _DEAREST * together * scale))
        solution = np.asarray(fitted.x) / scale
    left = np.abs(matrix @ solution - missing).max(initial=0.0)
    return Savings(
        per_number=dict(zip(kinds, map(float, solution), strict=True)),
        worst=float(left / whole),
        sets=len(sets),
    )


def pairs(neighbours: Sequence[Neighbours], savings: Savings) -> tuple[Pair, ...]:
    """Return what each pair of neighbours saves, those that save nothing left out."""
    found = [
        Pair(first=item.first, second=item.second, seconds=savings.per_number[item.kind] * item.numbers)
        for item in neighbours
    ]
    return tuple(pair for pair in found if pair.seconds > 0)


def _reached(quantizer: Quantizer, layer: IntegerLayer) -> list[tuple[IntegerLayer, bool]]:
    """Return the layers that read what `layer` makes, with whether all between could be in integers."""
    editor, layers = quantizer.editor, quantizer.layers
    found: dict[str, bool] = {}
    seen, front = {layer.result: True}, [layer.result]
    for _ in range(_FARTHEST):
        following: list[str] = []
        for value in front:
            for node in editor.consumers(value):
                if node.name in layers:
                    if layers[node.name].source == value:
                        found[node.name] = found.get(node.name, False) or seen[value]
                elif node.op_type != "ConvTranspose":
                    carried = seen[value] and can_carry(editor, node, quantizer.grids, quantizer.readings)
                    following.extend(output for output in node.output if output not in seen)
                    seen.update({output: seen.get(output, carried) and carried for output in node.output})
        front = following
    return [(layers[name], carried) for name, carried in found.items()]
