"""A whole search by evolution: from a start to a result, with a checkpoint on the way."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import get_context

from qedeploy.errors import RequestError, UserError
from qedeploy.network.structure import Structure
from qedeploy.search.budgets import format_budget
from qedeploy.search.checkpoint import Checkpoint
from qedeploy.search.evolution import CHUNKS_PER_GENERATION, Evolution, EvolutionSettings, State
from qedeploy.search.feasibility import require_feasible
from qedeploy.search.result import SearchResult, budget_costs, keeps
from qedeploy.search.space import BudgetKind, Budgets, SearchSpace

METHOD = "evolution"
SECONDS_BETWEEN_CHECKPOINTS = 1.0
SECONDS_BETWEEN_REPORTS = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a search stands. `use` is each budget's share that the best structure so far needs."""

    evaluations: int
    total: int
    score: float
    use: dict[BudgetKind, float]


Watch = Callable[[Progress], None]


def solve(
    space: SearchSpace,
    budgets: Budgets,
    settings: EvolutionSettings,
    *,
    start: Sequence[Structure] = (),
    checkpoint: Checkpoint | None = None,
    workers: int = 1,
    watch: Watch | None = None,
) -> SearchResult:
    """Return the best structure of `space` that evolution finds under `budgets`.

    Equal arguments give an equal result, whatever `workers` (processes) and however often it was interrupted: it goes
    on from `checkpoint`, which it keeps up to date and leaves behind. Raises RequestError where a limit cannot be met,
    and where none was found that meets all.
    """
    evolution = Evolution(space, budgets, settings)
    require_feasible(space, budgets)
    state = checkpoint.load(evolution) if checkpoint else None
    if state is None:
        state = evolution.start(start)
        if checkpoint:
            # At once, so that a folder that takes no files is found out before the search and not after it.
            checkpoint.save(state)
    with _executor(workers) as executor:
        state = _run(evolution, state, executor, checkpoint, watch)
    return SearchResult(
        method=METHOD,
        settings=asdict(settings),
        structure=_best(evolution, state),
        evaluations=state.evaluations,
    )


def _run(
    evolution: Evolution, state: State, executor: Executor | None, checkpoint: Checkpoint | None, watch: Watch | None
) -> State:
    saved = reported = time.monotonic()
    try:
        for found in evolution.states(state, executor):
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


def _progress(evolution: Evolution, state: State) -> Progress:
    measures = evolution.coding.measure(state.members.genes[:, :1], evolution.budgets)
    return Progress(
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
    costs = budget_costs(closest, space)
    needs = ", ".join(
        f"{kind} {format_budget(kind, costs[kind])} of {format_budget(kind, limit)}"
        for kind, limit in evolution.budgets.items()
    )
    raise RequestError(
        f"no structure was found that keeps all budgets together, though each can be kept alone (evidence from "
        f"{state.evaluations} evaluations, not a proof); the closest needs {needs}: raise what it exceeds"
    )


@contextmanager
def _executor(workers: int) -> Iterator[Executor | None]:
    if workers <= 1:
        yield None
        return
    # Spawned, not forked: a fork of a process with threads may hang, and other systems have no fork.
    with ProcessPoolExecutor(
        min(workers, CHUNKS_PER_GENERATION), mp_context=get_context("spawn"), initializer=_ignore_interrupts
    ) as executor:
        try:
            yield executor
        except BrokenProcessPool as error:
            raise UserError("a worker process died (out of memory?); repeat the command with --workers 1") from error


def _ignore_interrupts() -> None:
    # Ctrl-C reaches every process of the terminal; only the one that holds the checkpoint has something to do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
