"""Gates on accuracy for continuous integration: `top1<70%`, `top1-drop>0.5%`.

A gate that an interval cannot decide is withheld.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from qedeploy.errors import UserError
from qedeploy.rulings import Ruling, Verdict
from qedeploy.train.accuracy import Difference, Share

DROP = "top1-drop"
TOP5_CLASSES = 5
"""Up to so many classes the first five answers say nothing, and are not counted."""

_PATTERN = re.compile(r"\s*(top1-drop|top1|top5)\s*([<>])\s*(\d+(?:\.\d*)?|\.\d+)\s*%\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyGate:
    """A condition under which a model fails; `limit` is a share, or for a drop a difference of shares."""

    text: str
    figure: str
    below: bool
    limit: float


def parse_gate(text: str) -> AccuracyGate:
    """Return the gate of an expression such as `top1<70%`; raises UserError where it is not understood."""
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise UserError(f"--fail-if {text!r}: expected top1<70%, top5<90% or, with --against, top1-drop>0.5%")
    figure, operator, number = match.groups()
    return AccuracyGate(text=text.strip(), figure=figure, below=operator == "<", limit=float(number) / 100)


def require_comparable(gates: Sequence[AccuracyGate], compared: bool) -> None:
    """Raise UserError for a gate on a drop where no other model is compared: before anything is counted."""
    for gate in gates:
        if gate.figure == DROP and not compared:
            raise UserError(f"--fail-if {gate.text}: a drop is against another model: name it with --against")


def require_classes(gates: Sequence[AccuracyGate], classes: int) -> None:
    """Raise UserError for a gate on the first five answers of a model with no more than `classes` of them."""
    for gate in gates:
        if gate.figure == "top5" and classes <= TOP5_CLASSES:
            raise UserError(
                f"--fail-if {gate.text}: the model has {classes} classes, of which five answers say nothing"
            )


def judge(gate: AccuracyGate, shares: dict[str, Share], fallen: Difference | None) -> Verdict:
    """Return the verdict on the figures of one model, `fallen` being its difference to another where there is one.

    What `require_comparable` and `require_classes` refuse is not to be judged.
    """
    if gate.figure == DROP:
        assert fallen is not None
        return _decided(gate, -fallen.high, -fallen.low, str(fallen))
    found = shares[gate.figure]
    return _decided(gate, found.low, found.high, str(found))


def _decided(gate: AccuracyGate, low: float, high: float, found: str) -> Verdict:
    met = {(end < gate.limit) if gate.below else (end > gate.limit) for end in (low, high)}
    if len(met) > 1:
        sentence = (
            f"gate {gate.text}: verdict withheld: {found}: the interval contains the limit: take more images, or leave "
            "more room"
        )
        return Verdict(gate=gate.text, outcome=Ruling.WITHHELD, sentence=sentence)
    outcome = Ruling.FAILED if met.pop() else Ruling.PASSED
    return Verdict(gate=gate.text, outcome=outcome, sentence=f"gate {gate.text} {outcome}: {found}")
