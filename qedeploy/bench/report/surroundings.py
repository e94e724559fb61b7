"""What is known of a measured model from elsewhere: its network, the search that found it, its accuracy."""

from __future__ import annotations

from dataclasses import dataclass

from qedeploy.train.class_report import ClassAnswers


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetUse:
    """A budget of the search: `name` as in search.json, its label, what is used and the limit, in base units."""

    name: str
    label: str
    used: float
    limit: float
    used_text: str
    limit_text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRecord:
    """The search that found the network. `proof` says in a sentence what is known of better ones."""

    recipe: str
    profile: str
    score: float
    proof: str
    budgets: tuple[BudgetUse, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyRecord:
    """What accuracy.json says of the very file that was measured. Shares run from 0 to 1, `interval` is of 95 %.

    `answers` are None in the results of a qedeploy that did not keep them.
    """

    top1: float
    interval: tuple[float, float]
    images: int
    data: str
    runtime: str
    top5: float | None = None
    answers: ClassAnswers | None = None

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.top1:.2%} [{low:.2%}, {high:.2%}] of {self.images:,} images"


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a report says beside the measurement; each None where nobody told.

    `network` is the name that people know it by. `elsewhere` is the label of the runtime that the file was exported
    for, where that is not the one that measured it. The bytes are those of weights at nominal widths, without the
    classifier, and of the activations that are alive at once.
    """

    network: str | None = None
    elsewhere: str | None = None
    weight_bytes: float | None = None
    peak_memory_bytes: float | None = None
    search: SearchRecord | None = None
    accuracy: AccuracyRecord | None = None
