"""A whole search by evolution: from a start to a result, with a checkpoint on the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from qedeploy.errors import RequestError
from qedeploy.executors import Workers, open_workers
from qedeploy.network.structure import Structure
from qedeploy.search.costs.budget import Budget
from qedeploy.search.costs.feasibility import require_feasible
from qedeploy.search.costs.registry import Budgets, keeps
from qedeploy.search.evolution.evolution import CHUNKS_PER_GENERATION, Evolution, EvolutionSettings, State
from qedeploy.search.evolution.state_file import StateFile
from qedeploy.search.methods import EVOLUTION
from qedeploy.search.result import SearchResult
from qedeploy.search.space.space import SearchSpace

SECONDS_BETWEEN_CHECKPOINTS = 1.0
SECONDS_BETWEEN_REPORTS = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class EvolutionProgress:
    """Where a search stands. `use` is each budget's share that the best structure so far needs."""

    evaluations: int
    total: int
    score: float
    use: dict[Budget, float]

    def __str__(self) -> str:
        use = ", ".join(f"{kind} {share:.1%}" for kind, share in self.use.items())
        return f"best score {self.score:.3f}" + (f"; used of {use}" if use else "")


Watch = Callable[[EvolutionProgress], None]


def solve(
    space: SearchSpace,
    budgets: Budgets,
    settings: EvolutionSettings,
    *,
    start: Sequence[Structure] = (),
    checkpoint: StateFile | None = None,
    workers: int = 1,
    cluster: str | None = None,
    watch: Watch | None = None,
) -> SearchResult:
    """Return the best structure of `space` that evolution finds under `budgets`.

    Equal arguments give an equal result, whatever `workers` (processes) or `cluster` (the address of a Dask scheduler)
    and however often it was interrupted: it goes on from `checkpoint`, which it keeps up to date and leaves behind.
    Raises RequestError where a limit cannot be met, and where none was found that meets all.
    """
    evolution = Evolution(space, budgets, settings)
    require_feasible(space, budgets)
    state = checkpoint.load(evolution) if checkpoint else None
    if state is None:
        state = evolution.start(start)
        if checkpoint:
            # At once, so that a folder that takes no files is found out before the search and not after it.
            checkpoint.save(state)
    processes = min(workers, CHUNKS_PER_GENERATION) if workers > 1 else 0
    with open_workers(processes, cluster) as opened:
        state = _run(evolution, state, opened, checkpoint, watch)
    return SearchResult(
        method=EVOLUTION,
        settings=asdict(settings),
        structure=_best(evolution, state),
        evaluations=state.evaluations,
    )


def _run(
    evolution: Evolution, state: State, workers: Workers, checkpoint: StateFile | None, watch: Watch | None
) -> State:
    saved = reported = time.monotonic()
    try:
        for found in evolution.states(state, workers):
            state = found
            now = time.monotonic()
            if checkpoint and now - saved >= SECONDS_BETWEEN_CHECKPOINTS:
                checkpoint.save(state)
                saved = now
            if watch and now - reported >= SECONDS_BETWEEN_REPORTS:
                watch(_progress(evolution, state))
                reported = now
    finally:
        if checkpoint:
            checkpoint.save(state)
    if watch:
        watch(_progress(evolution, state))
    return state


def _progress(evolution: Evolution, state: State) -> EvolutionProgress:
    measures = evolution.coding.measure(state.members.genes[:, :1], evolution.budgets)
    return EvolutionProgress(
        evaluations=state.evaluations,
        total=evolution.settings.evaluations,
        score=float(state.members.score[0]),
        use={kind: float(measures.costs[kind][0]) / limit for kind, limit in evolution.budgets.items()},
    )


def _best(evolution: Evolution, state: State) -> Structure:
    space, members = evolution.coding.space, state.members
    for index in range(members.score.size):
        if members.excess[index] > 0:
            break
        structure = evolution.coding.structure(members.genes[:, index])
        # Layer by layer once more: the array code may round a sum that lands on the limit the other way.
        if keeps(structure, space, evolution.budgets):
            return structure
    closest = evolution.coding.structure(members.genes[:, 0])
    needs = ", ".join(
        f"{kind} {kind.text(kind.cost(closest, space))} of {kind.text(limit)}"
        for kind, limit in evolution.budgets.items()
    )
    raise RequestError(
        f"no structure was found that keeps all budgets together, though each can be kept alone (evidence from "
        f"{state.evaluations} evaluations, not a proof); the closest needs {needs}: raise what it exceeds"
    )
