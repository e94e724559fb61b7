"""What a search found that its figures alone would not tell a person."""

from __future__ import annotations

from qedeploy.network.structure import Structure
from qedeploy.search.costs.budgets.counted import BITOPS, EXECUTED_BITOPS
from qedeploy.search.costs.registry import budget_costs
from qedeploy.search.request import Request
from qedeploy.search.result import score_is_blind
from qedeploy.units import format_count


def warnings(request: Request, structure: Structure) -> list[str]:
    """Return what the figures alone would not tell a person, a sentence each."""
    costs = budget_costs(structure, request.space)
    executed, nominal = costs[EXECUTED_BITOPS], costs[BITOPS]
    found = []
    if executed > nominal:
        found.append(
            f"{request.profile.name} computes {format_count(executed)} BitOps where the structure has "
            f"{format_count(nominal)}: widths narrower than those it multiplies in save bytes at most, no arithmetic"
        )
    if score_is_blind(request.space):
        found.append(
            "the score does not tell the bit pairs of this space apart: its quantization part is a constant, and only "
            "the shape was searched"
        )
    return found
