"""Evolution: the reference's mutations and population rule, a generation at a time.

Every generation is split into chunks of a fixed size with a random stream of their own, keyed by seed, generation and
chunk. Who computes a chunk, and whether the search was interrupted before it, therefore changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np

from qedeploy.errors import UserError
from qedeploy.executors import Workers, run_jobs, this_process
from qedeploy.network.structure import Structure
from qedeploy.search.costs.registry import Budgets
from qedeploy.search.evolution.mutation import Mutator
from qedeploy.search.evolution.population import Coding
from qedeploy.search.space.budgets import in_order
from qedeploy.search.space.layers import Array
from qedeploy.search.space.space import SearchSpace

MUTATIONS_PER_CHILD = 2
CHUNK = 1024
"""Children that one random stream makes, and one worker at a time."""

CHUNKS_PER_GENERATION = 4
"""Children of a generation descend from the population before it; this is also how many workers can help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvolutionSettings:
    """How long to search and how many to keep. `population` is the reference's popu_size."""

    seed: int = 0
    evaluations: int = 500_000
    population: int = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Members:
    """Structures with what selection needs: genes [genes, N], score [N], excess [N] over the budgets, and keys [N].

    `excess` is the sum over budgets of how far a member is above its limit, relative to it; 0 keeps all budgets. `keys`
    tell structures apart: a 64-bit hash of the genes.
    """

    genes: Array
    score: Array
    excess: Array
    keys: Array

    def take(self, index: Array) -> Members:
        """Return the members at `index`."""
        return Members(
            genes=self.genes[:, index], score=self.score[index], excess=self.excess[index], keys=self.keys[index]
        )

    @staticmethod
    def join(parts: Sequence[Members]) -> Members:
        """Return the members of all `parts` in their order."""
        return Members(
            genes=np.concatenate([part.genes for part in parts], axis=1),
            score=np.concatenate([part.score for part in parts]),
            excess=np.concatenate([part.excess for part in parts]),
            keys=np.concatenate([part.keys for part in parts]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Where a search stands: everything it needs to go on. `members` are the best first, without repeats."""

    generation: int
    evaluations: int
    members: Members


class Evolution:
    """One search: a space, its budgets and its settings."""

    def __init__(self, space: SearchSpace, budgets: Budgets, settings: EvolutionSettings) -> None:
        self.coding = Coding(space)
        self.settings = settings
        self.budgets = in_order(budgets)
        self._mutator = Mutator(self.coding)
        # Odd multipliers from a fixed stream: the key of a structure is the same in every search.
        self._multipliers = np.random.Generator(np.random.Philox(1)).integers(
            1 << 63, size=(self.coding.genes, 1), dtype=np.uint64
        ) * np.uint64(2) + np.uint64(1)

    def __reduce__(self) -> tuple[Any, ...]:
        # It goes to a worker with every chunk: as bytes, from which the worker builds it and its tables once.
        return _built, (self._packed,)

    @cached_property
    def _packed(self) -> bytes:
        return bytes(ForkingPickler.dumps((self.coding.space, self.budgets, self.settings)))

    def start(self, structures: Sequence[Structure] = ()) -> State:
        """Return the first population: the members nearest to `structures`, and a smallest one."""
        genes = [self.coding.smallest()]
        if structures:
            genes.insert(0, self.coding.encode(structures))
        members = self.assess(np.concatenate(genes, axis=1))
        return State(generation=0, evaluations=members.score.size, members=self._select(members))

    def finished(self, state: State) -> bool:
        """Say whether the evaluations are spent."""
        return state.evaluations >= self.settings.evaluations

    def states(self, state: State, workers: Workers | None = None) -> Iterator[State]:
        """Yield the state after each generation until the evaluations are spent; `workers` breed their chunks.

        Raises UserError where a chunk comes back from none of them.
        """
        workers = workers or this_process()
        while not self.finished(state):
            left = self.settings.evaluations - state.evaluations
            sizes = [min(CHUNK, left - done) for done in range(0, min(left, CHUNK * CHUNKS_PER_GENERATION), CHUNK)]
            seeds = [(self.settings.seed, state.generation, chunk) for chunk in range(len(sizes))]
            bred = run_jobs(workers, partial(self._chunk, state.members), zip(sizes, seeds, strict=True))
            children = {outcome.job[1]: outcome.result for outcome in bred}
            state = State(
                generation=state.generation + 1,
                evaluations=state.evaluations + sum(sizes),
                members=self._select(Members.join([state.members, *(_arrived(children[seed]) for seed in seeds)])),
            )
            yield state

    def _chunk(self, parents: Members, job: tuple[int, tuple[int, ...]]) -> Members:
        return self.breed(parents, *job)

    def breed(self, parents: Members, size: int, seed: tuple[int, ...]) -> Members:
        """Return those of `size` children of `parents` that may enter the population."""
        random = np.random.Generator(np.random.Philox(np.random.SeedSequence(seed)))
        genes = np.take(parents.genes, random.integers(parents.score.size, size=size), axis=1)
        for _ in range(MUTATIONS_PER_CHILD):
            self._mutator.mutate(genes, random)
        children = self.assess(self.coding.settle(genes))
        if parents.score.size < self.settings.population:
            return children
        worst_excess, worst_score = parents.excess[-1], parents.score[-1]
        better = (children.excess == worst_excess) & (children.score > worst_score)
        return children.take(np.flatnonzero((children.excess < worst_excess) | better))

    def assess(self, genes: Array) -> Members:
        """Return the members of `genes` with score, excess and key."""
        measures = self.coding.measure(genes, self.budgets)
        excess = np.zeros(genes.shape[1])
        for kind, limit in self.budgets.items():
            excess += np.maximum(0.0, measures.costs[kind] / limit - 1.0)
        return Members(genes=genes, score=measures.score, excess=excess, keys=self._keys(genes))

    def _keys(self, genes: Array) -> Array:
        # Multiply, then mix the high half in: a plain sum of products would let two genes cancel.
        mixed = (genes.astype(np.uint64) + np.uint64(1)) * self._multipliers
        mixed ^= mixed >> np.uint64(29)
        total: Array = (mixed * self._multipliers[::-1]).sum(axis=0, dtype=np.uint64)
        return total

    def _select(self, members: Members) -> Members:
        """Return the best, each structure once: budgets before score, the elder of equals first."""
        _, first = np.unique(members.keys, return_index=True)
        first.sort()
        order = np.lexsort((-members.score[first], members.excess[first]))
        return members.take(first[order[: self.settings.population]])


def _arrived(members: Members | None) -> Members:
    if members is None:
        raise UserError(
            "a worker died twice (out of memory?); repeat the command with --workers 1, it goes on from here"
        )
    return members


@lru_cache(maxsize=1)
def _built(packed: bytes) -> Evolution:
    return Evolution(*ForkingPickler.loads(packed))
