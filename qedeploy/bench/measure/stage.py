"""How far a benchmark is: what is being done, and how long all of it will still take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchStage:
    """What is being done, in words, and the seconds that are left by plan, None where nobody can tell yet."""

    text: str
    seconds_left: float | None = None

    def __str__(self) -> str:
        return self.text
