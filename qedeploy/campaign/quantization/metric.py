"""What a user counts as right: top-1 by class folders, or a function of their own, on the outputs for the data."""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qedeploy.errors import UserError

TOP1 = "top1"

Function = Callable[[Sequence[Mapping[str, NDArray[Any]]], Sequence[Path]], float]
"""Takes the outputs of each sample by name and the file that each sample comes from; more is better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric by the name that the user gave it."""

    name: str
    function: Function

    def of(self, outputs: Sequence[Mapping[str, NDArray[Any]]], sources: Sequence[Path]) -> float:
        """Return what it says of `outputs`; raises UserError where it raises or returns no finite number."""
        try:
            found = float(self.function(outputs, sources))
        except Exception as error:  # whatever a user's function raises is theirs to see
            raise UserError(f"--metric {self.name}: raised {type(error).__name__}: {error}") from error
        if not math.isfinite(found):
            raise UserError(f"--metric {self.name}: returned {found}: expected a finite number, more for better")
        return found


def find_metric(name: str) -> Metric:
    """Return the metric `top1` (per cent, classes by folder in alphabetical order), or that of a `module:function`.

    A module is looked for in the working directory too. Raises UserError where there is none.
    """
    if name == TOP1:
        return Metric(name=name, function=_top1)
    module, separator, function = name.partition(":")
    if not (separator and module and function):
        raise UserError(f"--metric {name!r}: expected {TOP1} or MODULE:FUNCTION")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found = getattr(importlib.import_module(module), function)
    except Exception as error:  # importing runs the user's module, which may raise anything
        raise UserError(f"--metric {name}: cannot be imported: {error}") from error
    if not callable(found):
        raise UserError(f"--metric {name}: expected a function, found a {type(found).__name__}")
    return Metric(name=name, function=found)


def _top1(outputs: Sequence[Mapping[str, NDArray[Any]]], sources: Sequence[Path]) -> float:
    classes = sorted({source.parent.name for source in sources})
    scores = [next(array for array in item.values() if array.dtype.kind == "f").reshape(-1) for item in outputs]
    if len(classes) != len(scores[0]):
        raise ValueError(f"expected a folder for each of {len(scores[0])} classes, found {len(classes)}")
    right = [
        int(np.argmax(item)) == classes.index(source.parent.name) for item, source in zip(scores, sources, strict=True)
    ]
    return 100 * float(np.mean(right))
