"""Several models in turn, query by query: what each node took while all met the same, and what that says.

Two models that share most of their nodes tell each other's pace: what a shared node took longer in one than in the
other is the machine's doing, and is taken out of what the rest took.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from qedeploy.runtimes.timing import Samples, TimingProtocol

Feed = Mapping[str, NDArray[Any]]
"""A query's inputs by name."""

NodeKey = tuple[str, ...]
"""What a kind of node is known by in all models: its operator, the shapes that it works on, mostly its name."""

_LEAST_SHARED = 0.1
"""Share of a model's time that must be in shared nodes for them to tell the pace."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NodeTimes:
    """What each kind of node of one model took per query, in seconds: one number for each node of that kind."""

    seconds: Mapping[NodeKey, tuple[float, ...]]

    @property
    def total(self) -> float:
        """Sum over all nodes."""
        return sum(map(sum, self.seconds.values()))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AlternatedRun:
    """One model's nodes, and what it made of each feed: `outputs[feed][output]`."""

    nodes: NodeTimes
    outputs: Sequence[Sequence[NDArray[Any]]]


class TimedModel(Protocol):
    """A model in memory, ready to be measured on one feed."""

    def measure(self, protocol: TimingProtocol) -> Samples:
        """Run queries under `protocol`, one in flight, and return the latency of each."""
        ...


def added_seconds(reference: NodeTimes, changed: NodeTimes) -> float:
    """Return what a query of `changed` takes more than one of `reference` (seconds), at the reference's pace.

    The nodes that both have are the pace, and no part of the difference.
    """
    shared = {key for key, times in reference.seconds.items() if len(changed.seconds.get(key, ())) == len(times)}
    pace = 1.0
    own, other = (sum(sum(nodes.seconds[key]) for key in shared) for nodes in (changed, reference))
    # Too little in common says nothing of the pace: both ran in turn, so that it is about the same.
    if other > reference.total * _LEAST_SHARED:
        pace = own / other
    first, second = (
        sum(sum(times) for key, times in nodes.seconds.items() if key not in shared) for nodes in (reference, changed)
    )
    return second / pace - first
