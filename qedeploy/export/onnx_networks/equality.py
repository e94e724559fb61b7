"""Whether two models compute the same: every output, on the same inputs, as a share of that output's range."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from qedeploy.errors import RequestError
from qedeploy.export.onnx_networks.sizes import declared_inputs
from qedeploy.runtimes.base import Evaluator
from qedeploy.runtimes.inputs import random_values
from qedeploy.runtimes.registry import reference
from qedeploy.runtimes.turns import Feed

TOLERANCE = 1e-4
"""Largest difference of an output, as a share of the range that it has over all inputs tried."""

_OWN_FREEDOM = 2
"""How many times as far as the runtime's own optimisation moves the original an output may be, where that is more:
a sigmoid that is all but 0 on made-up inputs has a range of the size of its kernel's rounding."""

_SEED = 0
_PATCHES = (2, 5)
"""Squares along the longer side of the made-up pictures; real pictures are flat in places, noise is not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputDifference:
    """How far one output is from the original's at most, in its own unit, and its range over all inputs tried.

    `optimisation` is how far the runtime's own optimisation of the original moves that output.
    """

    name: str
    largest: float
    value_range: float
    optimisation: float

    @property
    def share(self) -> float:
        """The largest difference as a share of the range; 0 where nothing differs."""
        return self.largest / self.value_range if self.largest else 0.0

    @property
    def is_rounding(self) -> bool:
        """Whether the difference is what rounding makes: within TOLERANCE, or what the runtime does by itself."""
        return self.share <= TOLERANCE or self.largest <= _OWN_FREEDOM * self.optimisation


def trial_feeds(model: onnx.ModelProto) -> tuple[Feed, ...]:
    """Return inputs to compare on: unit normal noise, and pictures of flat patches for inputs that could be images."""
    generator = np.random.default_rng(_SEED)
    types = {
        item.name: np.dtype(onnx.helper.tensor_dtype_to_np_dtype(item.type.tensor_type.elem_type))
        for item in model.graph.input
    }
    shapes = {item.name: item.sizes for item in declared_inputs(model)}

    def values(name: str, patches: int | None) -> NDArray[Any]:
        shape = tuple(int(size) for size in shapes[name] if isinstance(size, int))
        if types[name].kind != "f":
            return random_values(shape, types[name], generator)
        if patches is None or len(shape) != 4:
            return generator.standard_normal(shape).astype(types[name])
        coarse = generator.uniform(-1.0, 1.0, (*shape[:2], patches, patches))
        rows, columns = (np.arange(size) * patches // size for size in shape[2:])
        return coarse[:, :, rows][:, :, :, columns].astype(types[name])

    return tuple({name: values(name, patches) for name in shapes} for patches in (None, *_PATCHES))


def require_equal(
    original: onnx.ModelProto, changed: onnx.ModelProto, feeds: Sequence[Feed], source: Path
) -> tuple[OutputDifference, ...]:
    """Return how far each output of `changed` is from the original's.

    The original runs as it is written, without any optimisation, `changed` with all of them, as it will be used. Raises
    RequestError naming an output that differs by more than TOLERANCE, is not finite or has another shape.
    """
    evaluators = (
        _evaluator(original, source, optimize=False),
        _evaluator(changed, source, optimize=True),
        _evaluator(original, source, optimize=True),
    )
    names = [item.name for item in original.graph.output]
    spans = {name: _Span() for name in names}
    for feed in feeds:
        results = [_run(evaluator, feed, source) for evaluator in evaluators]
        for name, expected, found, optimised in zip(names, *results, strict=True):
            if np.shape(expected) != np.shape(found):
                raise RequestError(f"{source}: output {name!r} changed its shape when it was prepared")
            wide = np.asarray(expected, np.float64)
            if not np.isfinite(wide).all():
                raise RequestError(f"{source}: output {name!r} is not finite: there is nothing to compare with")
            spans[name].add(wide, found, optimised)
    differences = tuple(spans[name].difference(name) for name in names)
    for item in differences:
        if not item.is_rounding:
            raise RequestError(
                f"{source}: output {item.name!r} differs from the original by {item.share:.1e} of its range once "
                f"prepared: expected at most {TOLERANCE:g}; nothing was written, please report this"
            )
    return differences


class _Span:
    """What one output spans over all inputs, and how far the two other runs are from it."""

    def __init__(self) -> None:
        self._low, self._high, self._largest, self._optimisation = np.inf, -np.inf, 0.0, 0.0

    def add(self, expected: NDArray[np.float64], found: NDArray[Any], optimised: NDArray[Any]) -> None:
        """Take in one run's arrays, all of one shape."""
        if expected.size == 0:
            return
        self._low, self._high = min(self._low, float(expected.min())), max(self._high, float(expected.max()))
        self._largest = max(self._largest, _distance(found, expected))
        self._optimisation = max(self._optimisation, _distance(optimised, expected))

    def difference(self, name: str) -> OutputDifference:
        """Return what was found."""
        spread = self._high - self._low if self._high > self._low else 0.0
        # An output that is one number everywhere is held to that number.
        value_range = spread or abs(self._high) or 1.0
        return OutputDifference(
            name=name, largest=self._largest, value_range=value_range, optimisation=self._optimisation
        )


def _distance(found: NDArray[Any], expected: NDArray[np.float64]) -> float:
    largest = float(np.abs(np.asarray(found, np.float64) - expected).max())
    return largest if np.isfinite(largest) else np.inf


def _evaluator(model: onnx.ModelProto, source: Path, *, optimize: bool) -> Evaluator:
    runtime = reference()
    try:
        return runtime.evaluator(model.SerializeToString(), optimize)
    except Exception as error:  # a runtime's exceptions need have no common base
        raise RequestError(f"{source}: {runtime.label} refuses it: {error}") from error


def _run(evaluator: Evaluator, feed: Feed, source: Path) -> list[Any]:
    try:
        return list(evaluator(feed).values())
    except Exception as error:  # a runtime's exceptions need have no common base
        raise RequestError(f"{source}: {reference().label} cannot execute it: {error}") from error
