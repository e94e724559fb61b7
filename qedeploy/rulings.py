"""What becomes of a condition that a user set: passed, failed or withheld, in a sentence, with one exit code for both.

A ruling is withheld where the measurement does not carry it. Failed and withheld both end with exit code 3, so that no
gate passes in silence; the message and the written document tell them apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from qedeploy.errors import RequestError


class Ruling(StrEnum):
    """What became of a condition."""

    PASSED = "passed"
    FAILED = "failed"
    WITHHELD = "withheld"


class Ruled(Protocol):
    """Something that was decided once the measurement was there, and the sentence that says so."""

    @property
    def outcome(self) -> Ruling:
        """What was decided."""
        ...

    @property
    def sentence(self) -> str:
        """The decision in words."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a gate decided, in one sentence."""

    gate: str
    outcome: Ruling
    sentence: str


def enforce(ruled: Sequence[Ruled]) -> None:
    """Raise RequestError where anything failed or was withheld, naming every one."""
    bad = [one.sentence for one in ruled if one.outcome is not Ruling.PASSED]
    if bad:
        raise RequestError("; ".join(bad))
