"""The master problem of the dual: the best mixture of known structures that keeps the limits on average.

Its prices are where the dual bound is looked for next (Dantzig and Wolfe 1960). With J limits it is a linear program
of J + 1 rows, small enough for a plain revised simplex method.
"""

from __future__ import annotations

import numpy as np

from qedeploy.search.space.layers import Array

MAX_PIVOTS = 500
TOLERANCE = 1e-10


class Master:
    """Mixtures of columns (score, share of each limit used). Breaking a limit is allowed at `penalty` a share."""

    def __init__(self, limits: int, penalty: float = 1e6) -> None:
        self._rows = limits + 1
        identity = np.eye(limits, self._rows)
        # A limit not used up, and a limit broken.
        self._columns = np.concatenate([identity, -identity])
        self._gains = np.concatenate([np.zeros(limits), np.full(limits, -penalty)])
        self._right = np.ones(self._rows)
        self._basis: list[int] = []

    def add(self, score: float, shares: Array) -> None:
        """Add a structure's score and the shares of the limits that it uses, and price anew."""
        self._columns = np.concatenate([self._columns, [[*shares, 1.0]]])
        self._gains = np.append(self._gains, score)
        if not self._basis:
            limits = self._rows - 1
            broken = np.asarray(shares) > 1
            self._basis = [*(row + limits * int(broken[row]) for row in range(limits)), len(self._gains) - 1]
        self._pivot()

    @property
    def value(self) -> float:
        """The best mixture's score: no dual bound over the known structures is lower."""
        return float(self._prices() @ self._right)

    @property
    def multipliers(self) -> Array:
        """What a share of each limit is worth to the best mixture."""
        return np.maximum(self._prices()[:-1], 0.0)

    @property
    def breaks_limits(self) -> bool:
        """Whether even the best mixture breaks a limit."""
        limits = self._rows - 1
        shares = np.linalg.solve(self._columns[self._basis].T, self._right)
        broken = [
            limits <= column < 2 * limits and share > 1e-9 for column, share in zip(self._basis, shares, strict=True)
        ]
        return any(broken)

    def multipliers_at(self, limits: Array) -> Array:
        """Return what a share of each limit would be worth if the limits were these shares of themselves."""
        other = Master(limits.size)
        other._columns, other._gains = self._columns, self._gains
        other._right = np.append(limits, 1.0)
        first = 2 * limits.size
        broken = self._columns[first, :-1] > limits
        other._basis = [*(row + limits.size * int(broken[row]) for row in range(limits.size)), first]
        other._pivot()
        return other.multipliers

    def _prices(self) -> Array:
        found: Array = np.linalg.solve(self._columns[self._basis], self._gains[self._basis])
        return found

    def _pivot(self) -> None:
        for _ in range(MAX_PIVOTS):
            reduced = self._gains - self._columns @ self._prices()
            reduced[self._basis] = 0.0
            entering = int(np.argmax(reduced))
            if reduced[entering] <= TOLERANCE * max(1.0, abs(float(self._gains[entering]))):
                return
            matrix = self._columns[self._basis].T
            share = np.linalg.solve(matrix, self._right)
            step = np.linalg.solve(matrix, self._columns[entering])
            usable = step > TOLERANCE
            if not usable.any():
                return
            ratio = np.where(usable, share / np.where(usable, step, 1.0), np.inf)
            self._basis[int(np.argmin(ratio))] = entering
