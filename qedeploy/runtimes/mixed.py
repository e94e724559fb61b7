"""What `quantize` needs of a runtime: networks of which some layers are in integers, executed and timed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qedeploy.runtimes.turns import AlternatedRun, Feed, TimedModel, TimedRun


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedExecution:
    """How a runtime executes networks of which some layers are in integers, and how that is measured.

    `precisions` returns the integer precisions whose products this machine computes exactly. `kernels` are the
    operators that compute layers in integers; `nodes` returns name and operator of every node that the runtime makes of
    a serialised model. `alternate` runs serialised models on all feeds in turn, and then on for so many seconds in all,
    with so many threads, and times their nodes; `compare` does so too, and times queries. `timed` opens one for a feed
    and threads. They raise whatever the runtime raises.
    """

    label: str
    precisions: Callable[[], tuple[str, ...]]
    kernels: frozenset[str]
    nodes: Callable[[bytes], Sequence[tuple[str, str]]]
    alternate: Callable[[Mapping[str, bytes], Sequence[Feed], float, int], dict[str, AlternatedRun]]
    compare: Callable[[Mapping[str, bytes], Sequence[Feed], float, int], dict[str, TimedRun]]
    timed: Callable[[bytes, Feed, int], TimedModel]
