"""Networks of one budget, spread evenly over the score: from the worst that was found to the best of the space."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from qedeploy.campaign import sampling
from qedeploy.campaign.accuracy.arms import Arm, at_fixed_widths, changed, has_widths
from qedeploy.errors import RequestError
from qedeploy.network.structure import Structure
from qedeploy.search.costs.budget import Budget
from qedeploy.search.costs.registry import Budgets, keeps
from qedeploy.search.exact.problem import Problem
from qedeploy.search.exact.solver import solve
from qedeploy.search.request import Request
from qedeploy.search.space.space import SearchSpace

LEAST_SHARE = 0.9
"""The least share of the budget that a drawn network uses."""

_TRIES = 300
"""Changes to try for each network that is wanted."""

_STARTS, _WAY = 12, 200
"""Random networks to begin with beside the best, and changes to bring one of them to the budget."""

_MOST_CHANGES = 3

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A network and its score."""

    structure: Structure
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CostBounds:
    """The space that an arm draws from, and what its networks keep: `kind` nearly used up, the others not exceeded."""

    space: SearchSpace
    budgets: Budgets
    kind: Budget

    def share(self, structure: Structure) -> float:
        """Return the share of the budget that a structure uses."""
        return self.kind.cost(structure, self.space) / self.budgets[self.kind]

    def fits(self, structure: Structure) -> bool:
        """Say whether a structure uses the budget up, nearly, and keeps every limit."""
        return LEAST_SHARE <= self.share(structure) <= 1 and keeps(structure, self.space, self.budgets)


def draw(
    request: Request,
    kind: Budget,
    arm: Arm,
    count: int,
    *,
    seed: int = 0,
    progress: Progress = lambda _done, _total: None,
) -> tuple[Scored, ...]:
    """Return `count` networks of an arm by ascending score, each using 90 to 100 % of the budget `kind`.

    The best of the space at fixed widths is the shape of `shapes-fixed`, and one of the networks elsewhere. From there
    and from random networks others are made by small changes, most where few are: the scores cover a range, and the
    networks are those nearest to even steps in it. Raises RequestError where the arm has too few.
    """
    random = np.random.default_rng([seed, list(Arm).index(arm)])
    if arm is Arm.SHAPES_FIXED and not has_widths(request.space):
        raise RequestError(
            f"--arm {arm}: recipe {request.recipe.name} has one choice of bit widths on {request.profile.name}: take "
            f"another recipe or profile, or --arm {Arm.WIDTHS_FIXED}"
        )
    fixed = at_fixed_widths(request.space)
    space = fixed if arm is Arm.WIDTHS_FIXED else request.space
    bounds = CostBounds(space=space, budgets=request.budgets, kind=kind)
    best = solve(Problem.of(space if arm is Arm.FREE else fixed, request.budgets)).found[0].structure
    starts = [best]
    if arm is not Arm.SHAPES_FIXED:
        stream = sampling.networks(space, request.budgets, request.profile, seed=seed + (2 << 32))
        starts += [_brought_near(start, bounds, arm, random) for start in islice(stream, _STARTS)]
    found = _spread([start for start in starts if bounds.fits(start)], bounds, arm, count, random, progress)
    if len(found) < count:
        raise RequestError(
            f"--arm {arm}: {len(found)} networks of recipe {request.recipe.name} use {LEAST_SHARE:.0%} to 100% of "
            f"{kind}={kind.text(request.budgets[kind])}, expected {count}: ask for as many with --networks, or name "
            "another limit"
        )
    return _evenly(found, count)


def _brought_near(start: Structure, bounds: CostBounds, arm: Arm, random: np.random.Generator) -> Structure:
    """Return `start` after those of some changes that bring it nearer to the budget."""
    distance = abs(math.log(bounds.share(start)))
    for _ in range(_WAY):
        if bounds.fits(start):
            break
        other = changed(start, bounds.space, arm, random)
        if (away := abs(math.log(bounds.share(other)))) < distance:
            start, distance = other, away
    return start


def _spread(
    starts: Sequence[Structure],
    bounds: CostBounds,
    arm: Arm,
    count: int,
    random: np.random.Generator,
    progress: Progress,
) -> list[Scored]:
    """Return networks by ascending score: `starts`, and what changes of those made, chosen evenly over the score."""
    score = bounds.space.score
    known = dict.fromkeys(starts)
    found = sorted(((score.of(start), number) for number, start in enumerate(known)), key=lambda pair: pair[0])
    structures = list(known)
    total = _TRIES * count
    for tried in range(total):
        if not found:
            break
        goal = random.uniform(found[0][0], found[-1][0])
        place = min(bisect.bisect(found, (goal, 0)), len(found) - 1)
        structure = structures[found[place][1]]
        for _ in range(int(random.integers(1, _MOST_CHANGES + 1))):
            structure = changed(structure, bounds.space, arm, random)
        if structure not in known and bounds.fits(structure):
            known[structure] = None
            structures.append(structure)
            bisect.insort(found, (score.of(structure), len(structures) - 1))
        progress(tried + 1, total)
    return [Scored(structure=structures[number], score=value) for value, number in found]


def _evenly(found: Sequence[Scored], count: int) -> tuple[Scored, ...]:
    """Return `count` of `found` (by ascending score), nearest to even steps from the lowest score to the highest."""
    left = list(found)
    chosen = []
    # The ends first: both are there whatever lies between them.
    steps = np.linspace(found[0].score, found[-1].score, count)
    for goal in (steps[0], steps[-1], *steps[1:-1])[:count]:
        nearest = min(range(len(left)), key=lambda place: abs(left[place].score - goal))
        chosen.append(left.pop(nearest))
    return tuple(sorted(chosen, key=lambda one: one.score))
