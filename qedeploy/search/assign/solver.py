"""The best assignment by a mixed-integer linear program (HiGHS through SciPy), with its bound.

One binary for each layer and precision, one variable for each saving that is 1 at most where all of its layers are out
of float32. What is minimised is the time of a query, or the error where the time is limited.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from qedeploy.errors import RequestError
from qedeploy.search.assign.problem import FLOAT, AssignmentCosts, AssignmentProblem, Limits, costs
from qedeploy.search.assign.silence import native_output_silenced

TIME_LIMIT = 60.0
"""Seconds after which the best assignment so far is taken, with the bound that was proved by then."""

_UNITS = {"seconds": 1e-6, "error": 1e-4, "size": 1024.0, "executed": 1e6, "nominal": 1e6}
"""What one stands for in the program: HiGHS takes coefficients under 1e-9 for zero."""


class Objective(StrEnum):
    """What is made least."""

    SECONDS = "seconds"
    ERROR = "error"
    SIZE = "size"
    EXECUTED = "executed"
    NOMINAL = "nominal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """A precision for each layer. No assignment within the limits has less than `bound` of what was minimised."""

    precisions: dict[str, str]
    costs: AssignmentCosts
    limits: Limits
    objective: Objective
    bound: float

    @property
    def gap(self) -> float:
        """How far it may be from the best, as a share of its own value; 0 proves that nothing is better."""
        value = float(getattr(self.costs, self.objective.value))
        return max(0.0, value - self.bound) / abs(value) if value else 0.0

    @property
    def quantized(self) -> tuple[str, ...]:
        """Layers that are not in float32."""
        return tuple(name for name, precision in self.precisions.items() if precision != FLOAT)


def assign(problem: AssignmentProblem, limits: Limits, objective: Objective = Objective.SECONDS) -> Assignment:
    """Return the assignment with the least time, or error, within `limits`.

    Raises RequestError where none is within them.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    program = _Program(problem)
    with native_output_silenced():
        result = milp(
            program.coefficients(objective.value),
            integrality=program.integrality(),
            bounds=Bounds(0, 1),
            constraints=[
                LinearConstraint(*row) for row in (*program.choices(), *program.savings(), *program.limits(limits))
            ],
            options={"time_limit": TIME_LIMIT, "mip_rel_gap": 0.0},
        )
    if result.x is None:
        raise RequestError(
            "no assignment of precisions is within the budgets: allow more error, time or size, or release layers that "
            "--fix and --keep hold"
        )
    precisions = program.precisions(result.x)
    bound = float(result.mip_dual_bound) * _UNITS[objective.value]
    if objective is Objective.SECONDS:
        bound += problem.float_seconds
    return Assignment(
        precisions=precisions, costs=costs(problem, precisions), limits=limits, objective=objective, bound=bound
    )


class _Program:
    """Columns: every choice of every layer in order, then every saving."""

    def __init__(self, problem: AssignmentProblem) -> None:
        self._problem = problem
        self._columns = [(layer.name, choice) for layer in problem.layers for choice in layer.choices]
        self._size = len(self._columns) + len(problem.savings)

    def integrality(self) -> NDArray[np.int64]:
        """Return 1 for whole-number columns. Savings follow from the choices: the solver pushes them to their limit."""
        return np.asarray([1] * len(self._columns) + [0] * len(self._problem.savings))

    def coefficients(self, figure: str) -> NDArray[np.float64]:
        """Return each column's part of `figure`, in the program's unit; of the time, what differs from float32."""
        unit = _UNITS[figure]
        own = [getattr(choice, figure) / unit for _, choice in self._columns]
        saved = [-item.seconds / unit if figure == "seconds" else 0.0 for item in self._problem.savings]
        return np.asarray(own + saved, np.float64)

    def choices(self) -> list[tuple[NDArray[np.float64], float, float]]:
        """Return a row for each layer: it has one precision."""
        return [
            (self._row({index: 1.0 for index, (name, _) in enumerate(self._columns) if name == layer.name}), 1.0, 1.0)
            for layer in self._problem.layers
        ]

    def savings(self) -> list[tuple[NDArray[np.float64], float, float]]:
        """Return a row for each layer of each saving: there is one only where that layer is out of float32."""
        rows = []
        for number, item in enumerate(self._problem.savings):
            for name in item.layers:
                entries = {
                    index: -1.0
                    for index, (layer, choice) in enumerate(self._columns)
                    if layer == name and choice.precision != FLOAT
                }
                rows.append((self._row(entries | {len(self._columns) + number: 1.0}), -np.inf, 0.0))
        return rows

    def limits(self, limits: Limits) -> list[tuple[NDArray[np.float64], float, float]]:
        """Return a row for each limit that is set."""
        rows = []
        for figure, unit in _UNITS.items():
            limit = getattr(limits, figure)
            if limit is not None:
                start = self._problem.float_seconds if figure == "seconds" else 0.0
                rows.append((self.coefficients(figure), -np.inf, (limit - start) / unit))
        return rows

    def precisions(self, values: NDArray[np.float64]) -> dict[str, str]:
        """Return what a solution chooses."""
        return {
            name: choice.precision
            for (name, choice), value in zip(self._columns, values[: len(self._columns)], strict=True)
            if value > 0.5
        }

    def _row(self, entries: dict[int, float]) -> NDArray[np.float64]:
        row = np.zeros(self._size)
        row[list(entries)] = list(entries.values())
        return row
