"""Whether equalised weights and corrected biases lower the error of the outputs: only where they do are they used."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from qedeploy.export.onnx_networks.equalisation import equalise
from qedeploy.export.onnx_networks.methods import CalibrationMethod
from qedeploy.export.onnx_networks.output_error import OutputMeasure, fit_measures, total_error
from qedeploy.export.onnx_networks.quantizer import WEIGHT_LIMITS, Quantizer, make_quantizer
from qedeploy.runtimes.registry import reference
from qedeploy.runtimes.turns import Feed

PLAIN, CORRECTED, EQUALISED, BOTH = "as it is", "biases corrected", "weights equalised", "both"
_WORTH = 0.95
"""Share of the error under which a change of the network is worth it: less is chance."""

_SMALLEST = 1e-9
"""Error that counts as none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Improvement:
    """What was tried. `errors` are those of the outputs, the geometric mean over several sets of layers in integers.

    By form of the network, of which `chosen` has the least or is the plain one; `pairs` are the layers before and
    behind each value whose channels were rescaled.
    """

    chosen: str
    errors: Mapping[str, float]
    pairs: tuple[tuple[str, str], ...]

    @property
    def words(self) -> str:
        """What came of it, in words."""
        plain = self.errors[PLAIN]
        if self.chosen == PLAIN:
            return "equalised weights and corrected biases do not lower the error here"
        return f"{self.chosen}: {self.errors[self.chosen] / plain:.2f}x of the error of layers in integers"


def improved_quantizer(
    model: onnx.ModelProto,
    feeds: Sequence[Feed],
    method: CalibrationMethod,
    precisions: Sequence[str],
    progress: Callable[[int, int], None],
) -> tuple[Quantizer, Improvement | None]:
    """Return the quantizer of the prepared `model` with the least error; None where there is nothing to choose.

    The first of `precisions` that is one of integers decides. Raises RequestError as `make_quantizer` does.
    """
    steps = len(feeds) * 2
    plain = make_quantizer(model, feeds, method, lambda done, _total: progress(done, 2 * steps))
    precision = next((item for item in precisions if item in WEIGHT_LIMITS), None)
    sets = [] if precision is None else _sets(plain, precision)
    if precision is None or not sets:
        progress(2 * steps, 2 * steps)
        return plain, None
    equalised = equalise(model, feeds)
    forms = {PLAIN: plain, CORRECTED: plain.with_corrected_biases(feeds, precisions)}
    if equalised.pairs:
        other = make_quantizer(equalised.model, feeds, method, lambda done, _total: progress(steps + done, 2 * steps))
        forms |= {EQUALISED: other, BOTH: other.with_corrected_biases(feeds, precisions)}
    names = [item.name for item in model.graph.output]
    expected = _outputs(model, names, feeds)
    measures = fit_measures(names, expected)
    errors = {form: _error(quantizer, sets, names, feeds, expected, measures) for form, quantizer in forms.items()}
    progress(2 * steps, 2 * steps)
    best = min(errors, key=lambda form: errors[form])
    chosen = best if errors[best] <= _WORTH * errors[PLAIN] else PLAIN
    pairs = equalised.pairs if chosen in {EQUALISED, BOTH} else ()
    return forms[chosen], Improvement(chosen=chosen, errors=errors, pairs=pairs)


def _sets(quantizer: Quantizer, precision: str) -> list[dict[str, str]]:
    """Return sets of layers to take the error of: all of them, and halves of two kinds."""
    names = [name for name in quantizer.layers if name not in quantizer.refused]
    half = len(names) // 2
    sets = [names, names[:half], names[half:], names[::2], names[1::2]]
    return [dict.fromkeys(item, precision) for item in {tuple(item): None for item in sets if item}]


def _error(
    quantizer: Quantizer,
    sets: Sequence[Mapping[str, str]],
    names: Sequence[str],
    feeds: Sequence[Feed],
    expected: Sequence[Sequence[NDArray[Any]]],
    measures: Sequence[OutputMeasure],
) -> float:
    errors = []
    for precisions in sets:
        found = _outputs(quantizer.write(precisions).model, names, feeds)
        each = [total_error(measures, names, first, second) for first, second in zip(expected, found, strict=True)]
        errors.append(max(float(np.mean(each)), _SMALLEST))
    return math.exp(float(np.mean(np.log(errors))))


def _outputs(model: onnx.ModelProto, names: Sequence[str], feeds: Sequence[Feed]) -> list[list[NDArray[Any]]]:
    evaluate = reference().evaluator(model.SerializeToString(), True)
    return [[outputs[name] for name in names] for outputs in map(evaluate, feeds)]
