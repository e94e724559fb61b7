"""What a runtime can execute on any device: the limits of every profile for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from qedeploy.network.layers import LayerCategory
from qedeploy.plugins import RUNTIMES
from qedeploy.profiles.memory_plan import MemoryPlan
from qedeploy.profiles.profile import NO_RUNTIME, Lowering


@dataclass(frozen=True, slots=True, kw_only=True)
class Restriction:
    """The layer kinds that a lowering is for, and what these have in common, in words."""

    kinds: tuple[LayerCategory, ...]
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """The lowerings that a runtime executes.

    `unsigned_activation_bits` is the widest unsigned activation that it represents exactly, None where any can be
    claimed. `restrictions` are of lowerings that are not for every layer kind. `targets` are the devices that it
    compiles for by name, each with "" or the reason why it is refused; there are none where it compiles for the one
    that is here. `memory_plan` says what its files take of a device that plans memory ahead, None where it does not.
    """

    lowerings: tuple[Lowering, ...]
    unsigned_activation_bits: int | None = None
    restrictions: Mapping[Lowering, Restriction] = field(default_factory=dict)
    targets: Mapping[str, str] = field(default_factory=dict)
    memory_plan: MemoryPlan | None = None


ANYTHING = Capabilities(lowerings=tuple(Lowering))
"""What a profile without a runtime may claim."""


def capabilities_of(runtime: str) -> Capabilities | None:
    """Return what the runtime of that name executes, None where there is no such runtime."""
    if runtime == NO_RUNTIME:
        return ANYTHING
    found = RUNTIMES.find(runtime)
    capabilities: Capabilities | None = None if found is None else found.capabilities
    return capabilities


def memory_plan_of(runtime: str) -> MemoryPlan | None:
    """Return how the runtime of that name plans memory, None where it does not or there is no such runtime."""
    found = capabilities_of(runtime)
    return None if found is None else found.memory_plan
