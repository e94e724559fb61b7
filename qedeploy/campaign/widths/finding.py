"""What assigning widths found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qedeploy.model.checkpoint import Checkpoint
from qedeploy.network.structure import Bits, Structure
from qedeploy.profiles.profile import Profile
from qedeploy.search.assign.problem import AssignmentCosts, AssignmentProblem, costs
from qedeploy.search.assign.proof import Proof
from qedeploy.search.assign.solver import Assignment
from qedeploy.train.accuracy import Share
from qedeploy.train.sensitivity import WidthError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FoundWidths:
    """A network with widths assigned, not trained since: `checkpoint`, and what it was chosen by.

    `errors` are what widths cost by `samples` pictures. `before` and `after` are the top-1 of the network as it was
    and as it is, on pictures that the data set `apart` or on some held out; None where they have no labels. `timed`
    says that costs include predicted times.
    """

    checkpoint: Checkpoint
    profile: Profile
    before_structure: Structure
    pairs: Mapping[str, tuple[Bits, ...]]
    errors: tuple[WidthError, ...]
    samples: int
    problem: AssignmentProblem
    assignment: Assignment
    proof: Proof
    before: Share | None
    after: Share | None
    apart: bool
    timed: bool

    def costs_as(self, bits: Bits) -> AssignmentCosts | None:
        """Return what the network costs with `bits` in every layer that may choose; None where one may not have it."""
        chosen = {}
        for layer in self.problem.layers:
            offered = [choice.precision for choice in layer.choices]
            if len(offered) > 1 and str(bits) not in offered:
                return None
            chosen[layer.name] = str(bits) if str(bits) in offered else offered[0]
        return costs(self.problem, chosen)
