"""Several models in turn, query by query: what each node took while all met the same, and what that says.

Two models that share most of their nodes tell each other's pace: what a shared node took longer in one than in the
other is the machine's doing, and is taken out of what the rest took.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
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
    """What each kind of node of one model took per query, in seconds: one number for each node of that kind.

    Kinds are in the order in which their first nodes are executed.
    """

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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TimedRun:
    """What a query of one model took (seconds), and what it made of each feed: `outputs[feed][output]`."""

    seconds: float
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
    shared = _shared(reference, changed)
    first, second = (
        sum(sum(times) for key, times in nodes.seconds.items() if key not in shared) for nodes in (reference, changed)
    )
    return second / _pace(reference, changed, shared) - first


def seconds_around(reference: NodeTimes, changed: NodeTimes, kernels: Collection[str]) -> tuple[float, float]:
    """Return what nodes that only `changed` has take before and behind its own of the operators `kernels`.

    In seconds at the reference's pace. Nodes are in the order in which they are executed.
    """
    shared = _shared(reference, changed)
    before = behind = 0.0
    reached = False
    for key, times in changed.seconds.items():
        if key in shared:
            continue
        added = sum(times) - sum(reference.seconds.get(key, ()))
        if key[0] in kernels:
            reached = True
        elif reached:
            behind += added
        else:
            before += added
    pace = _pace(reference, changed, shared)
    return max(before, 0.0) / pace, max(behind, 0.0) / pace


def _shared(reference: NodeTimes, changed: NodeTimes) -> set[NodeKey]:
    return {key for key, times in reference.seconds.items() if len(changed.seconds.get(key, ())) == len(times)}


def _pace(reference: NodeTimes, changed: NodeTimes, shared: Collection[NodeKey]) -> float:
    """Return how many times as long the nodes that both have took in `changed`."""
    own, other = (sum(sum(nodes.seconds[key]) for key in shared) for nodes in (changed, reference))
    # Too little in common says nothing of the pace: both ran in turn, so that it is about the same.
    return own / other if other > reference.total * _LEAST_SHARED else 1.0
