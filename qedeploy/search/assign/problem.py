"""The assignment problem: layers with precisions to choose from, what each costs, and what neighbours save."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

FIGURES = ("seconds", "error", "size", "executed", "nominal")
"""What an assignment costs, by the names that choices, limits and costs have for it."""

FLOAT = "float32"
"""The precision that every layer has to start with; it costs no error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One precision of one layer.

    `seconds` is what a query takes more than with the layer in float32 (mostly negative), while all other layers are in
    float32; `error` what the outputs' error grows by; `size` bytes of its weights; `executed` BitOps in the widths that
    the runtime computes in, `nominal` ones in the precision's own.
    """

    precision: str
    seconds: float = 0.0
    error: float = 0.0
    size: float = 0.0
    executed: float = 0.0
    nominal: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerChoices:
    """A layer and its precisions, float32 among them unless it must not stay there."""

    name: str
    choices: tuple[Choice, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Saving:
    """Layers that save `seconds` where none of them is in float32: conversions between them are then not needed."""

    layers: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What an assignment may cost at most; None where nothing is asked. `seconds` is the time of the whole query."""

    seconds: float | None = None
    error: float | None = None
    size: float | None = None
    executed: float | None = None
    nominal: float | None = None

    @property
    def given(self) -> dict[str, float]:
        """Return the limits that are set, by figure."""
        return {figure: limit for figure in FIGURES if (limit := getattr(self, figure)) is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class AssignmentProblem:
    """A network with all its choices. `float_seconds` is a query's time with every layer in float32."""

    float_seconds: float
    layers: tuple[LayerChoices, ...]
    savings: tuple[Saving, ...] = ()

    def __post_init__(self) -> None:
        names = [layer.name for layer in self.layers]
        if len(set(names)) != len(names):
            raise ValueError("layers: expected names of their own")
        if any(len({*item.layers}.intersection(names)) != max(len(item.layers), 2) for item in self.savings):
            raise ValueError("savings: expected two or more different layers of the problem")
        if any(item.seconds < 0 for item in self.savings):
            raise ValueError("savings: expected what neighbours save, not negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class AssignmentCosts:
    """What an assignment costs by the problem's figures: a whole query's time, error, bytes and both BitOps."""

    seconds: float
    error: float
    size: float
    executed: float
    nominal: float

    def within(self, limits: Limits, tolerance: float = 1e-9) -> bool:
        """Return whether no limit is exceeded by more than the share `tolerance`."""
        return all(getattr(self, figure) <= limit * (1 + tolerance) for figure, limit in limits.given.items())


def costs(problem: AssignmentProblem, assignment: Mapping[str, str]) -> AssignmentCosts:
    """Return what `assignment` (a precision for each layer) costs; KeyError for a precision that a layer lacks."""
    chosen = [
        {choice.precision: choice for choice in layer.choices}[assignment[layer.name]] for layer in problem.layers
    ]
    saved = sum(item.seconds for item in problem.savings if FLOAT not in {assignment[name] for name in item.layers})
    totals = {figure: sum(getattr(choice, figure) for choice in chosen) for figure in FIGURES}
    totals["seconds"] += problem.float_seconds - saved
    return AssignmentCosts(**totals)
