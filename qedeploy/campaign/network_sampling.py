"""Networks to try estimates on: random ones, and those that a search would choose."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice

import numpy as np

from qedeploy.campaign import sampling
from qedeploy.errors import RequestError
from qedeploy.latency.predictor import LatencyModel
from qedeploy.network.costs import structure_costs
from qedeploy.network.graph import structure_graph
from qedeploy.network.structure import Structure
from qedeploy.search.costs.budget import Budget
from qedeploy.search.costs.budgets.counted import BITOPS, LAYERS, SIZE
from qedeploy.search.costs.budgets.latency import LATENCY
from qedeploy.search.costs.budgets.peak_memory import PEAK_MEMORY
from qedeploy.search.costs.budgets.planned import FLASH, SRAM
from qedeploy.search.exact.problem import Problem
from qedeploy.search.exact.solver import solve
from qedeploy.search.request import Request

_DRAWS, _SEARCHES = 40, 6
"""Random draws and searches for each network that is wanted, before a space counts as too small."""

HELD = {SIZE, PEAK_MEMORY, FLASH, SRAM, LAYERS}
"""Budgets that a drawn network keeps; how much it computes is what is to vary."""


class Drawn(StrEnum):
    """How a network came to be chosen."""

    RANDOM = "random"
    BITOPS = "best under bitops"
    LATENCY = "best under latency"


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnNetwork:
    """A network and how it was drawn."""

    structure: Structure
    drawn: Drawn


def draw_networks(
    request: Request,
    count: int,
    *,
    seed: int = 0,
    model: LatencyModel | None = None,
    excluded: Collection[Structure] = (),
    progress: Callable[[int], None] = lambda _: None,
) -> list[DrawnNetwork]:
    """Return `count` distinct networks of the request's space, none of them `excluded`, the same ones for a seed.

    Half of them are random. The others are the best of the space under limits spread over the range of the random
    ones: of nominal BitOps, and with a `model` every second one of latency. `progress` gets how many there are. Raises
    RequestError where the space has too few.
    """
    taken = set(excluded)
    found: list[DrawnNetwork] = []

    def take(structures: Iterator[Structure], drawn: Drawn, wanted: int) -> None:
        before, tries = len(found), _DRAWS if drawn is Drawn.RANDOM else _SEARCHES
        for structure in islice(structures, tries * wanted):
            if len(found) - before == wanted:
                return
            if structure not in taken:
                taken.add(structure)
                found.append(DrawnNetwork(structure=structure, drawn=drawn))
                progress(len(found))

    # Not the stream of `measure`, so that few are excluded; another number draws other networks.
    stream = sampling.networks(request.space, request.budgets, request.profile, seed=seed + (1 << 32))
    take(stream, Drawn.RANDOM, count - count // 2)
    random = [item.structure for item in found]
    generator = np.random.default_rng(seed)
    searched = count // 2
    by_latency = searched // 2 if model is not None else 0
    if model is not None:
        range_ = [model.seconds(structure_graph(structure)) for structure in random]
        space = dataclasses.replace(request, space=dataclasses.replace(request.space, latency=model))
        take(_best(space, LATENCY, range_, generator), Drawn.LATENCY, by_latency)
    range_ = [structure_costs(structure).bitops for structure in random]
    take(_best(request, BITOPS, range_, generator), Drawn.BITOPS, searched - by_latency)
    # A small space has few optima: more random ones make up for those that are missing.
    take(stream, Drawn.RANDOM, count - len(found))
    if len(found) < count:
        raise RequestError(
            f"recipe {request.recipe.name} has no {count} networks to try: {len(found)} are left; ask for as many with "
            "--networks, or take a recipe with more choices"
        )
    return found


def _best(request: Request, kind: Budget, values: list[float], random: np.random.Generator) -> Iterator[Structure]:
    """Yield the best structures under limits of `kind` that are log-uniform within `values`, without end."""
    held = {held: limit for held, limit in request.budgets.items() if held in HELD}
    low, high = np.log(min(values)), np.log(max(values))
    while True:
        limit = float(np.exp(random.uniform(low, high)))
        try:
            yield solve(Problem.of(request.space, {**held, kind: limit})).found[0].structure
        except RequestError:
            # Other budgets leave nothing under this limit; a wider one may do.
            low = min(np.log(limit), high)
