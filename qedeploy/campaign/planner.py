"""Measuring a latency table: which jobs in which order until the time is up, and the table that they make.

The order serves short runs: first a few of everything, then blocks far apart and whole networks in turns, then what
the search itself would choose under the table so far, where an error would mislead it most, and repeats of what has
been measured once or disagrees with itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count, islice
from typing import Any

import numpy as np

from qedeploy.campaign import sampling
from qedeploy.campaign.jobs import Job, JobResult, JobSettings
from qedeploy.campaign.journal import Entry, Journal
from qedeploy.campaign.network_sampling import HELD
from qedeploy.campaign.results import Results
from qedeploy.errors import RequestError
from qedeploy.export.benchmark_cases import BenchmarkCase, neutral_bits
from qedeploy.latency.fit import fit_calibration
from qedeploy.latency.predictor import LatencyModel
from qedeploy.latency.table import UNSTABLE, LatencyTable
from qedeploy.network.structure import Structure
from qedeploy.runtimes.registry import dialect_for
from qedeploy.search.costs.budget import Budget
from qedeploy.search.costs.budgets.latency import LATENCY
from qedeploy.search.exact.problem import Problem
from qedeploy.search.exact.solver import solve
from qedeploy.search.request import Request

FRAGMENTS_PER_JOB = 6
NETWORKS_PER_JOB = 4
NETWORK_WINDOW = 0.05
"""Seconds of a round of whole networks: several queries of milliseconds each."""

_OPENING_TAILS, _OPENING_BLOCKS = 4, 20
_BLOCKS_PER_CYCLE = 36
_CHOSEN_PER_CYCLE = 12
_REPEATS_PER_CYCLE = 12
_FEWEST_NETWORKS = 2 * NETWORKS_PER_JOB
_DRAWS_PER_NETWORK = 50
_LIMITS = 2
"""Latency limits at which each cycle asks the search what it would choose."""

Execute = Callable[[Iterable[Job]], Iterator[tuple[Job, JobResult | None]]]
"""Runs jobs, taken as there is room for them, and yields each with its result, or None where its worker was lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignStanding:
    """How far a measurement is: distinct shapes, whole networks, lost jobs, and the table's error on networks."""

    points: int
    networks: int
    lost: int
    error: float | None

    def __str__(self) -> str:
        error = "" if self.error is None else f", error {self.error:.1%}"
        lost = f", {self.lost} lost" if self.lost else ""
        return f"{self.points} parts, {self.networks} networks{error}{lost}"


class Campaign:
    """One measurement of a profile's table for a recipe.

    `time_left` says, before each job behind the first few that any table needs, whether there is time; a run whose
    journal holds those does one job in any case.
    """

    def __init__(
        self,
        request: Request,
        settings: JobSettings,
        *,
        journal: Journal,
        seed: int = 0,
        time_left: Callable[[], bool],
        watch: Callable[[CampaignStanding], None] = lambda _: None,
    ) -> None:
        self.request = request
        self.results = Results()
        self.lost = 0
        self._settings = settings
        self._journal = journal
        self._seed = seed
        self._time_left = time_left
        self._watch = watch
        self._around = neutral_bits(request.profile)
        self._error: float | None = None
        space, profile, budgets = request.space, request.profile, request.budgets
        self._blocks = sampling.blocks(space, budgets, profile, self._around, seed=seed)
        self._networks = (
            BenchmarkCase(structure=structure) for structure in sampling.networks(space, budgets, profile, seed=seed)
        )

    def run(self, execute: Execute) -> LatencyTable:
        """Measure until the time is up and return the table; what the journal holds counts as measured.

        Raises RequestError where nothing could be measured at all.
        """
        for entry in self._journal.read():
            self.results.add(entry.cases, entry.result)
        for job, result in execute(self._jobs()):
            if result is None:
                self.lost += 1
                continue
            self.results.add(job.cases, result)
            self._journal.append(Entry(cases=job.cases, result=result))
            self._watch(self._standing())
        return self.table()

    def table(self) -> LatencyTable:
        """Return the table of all that is measured so far; raises RequestError where that is nothing."""
        results, profile = self.results, self.request.profile
        multiple = dialect_for(profile.runtime, profile.dialect).channel_multiple
        points = results.points(multiple) if results.references else ()
        if not points:
            reason = next(iter(results.failures.values()), "no job came back")
            raise RequestError(f"nothing could be measured: {reason}")
        runtime, machine = results.runtime, results.machine
        table = LatencyTable(
            profile=profile.name,
            device=machine["cpu"] if runtime["device"] == "CPU" else runtime["device"],
            runtime=runtime,
            settings=settings_document(self._settings, self._seed),
            points=points,
            networks=results.networks(),
            machine=machine,
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            recipes=(self.request.recipe.name,),
            reference_seconds=results.reference_seconds,
            bottleneck_multiple=multiple,
        )
        return fit_calibration(table, profile)

    def _standing(self) -> CampaignStanding:
        fragments = sum(case.blocks is not None for case in self.results.cases.values())
        networks = len(self.results.cases) - fragments
        return CampaignStanding(points=fragments, networks=networks, lost=self.lost, error=self._error)

    def _jobs(self) -> Iterator[Job]:
        # Without the opening a table lacks whole parts, so it comes whatever the time.
        given = False
        for cases in self._opening():
            given = True
            yield self._job(cases)
        for cases in self._cycles():
            # A run that found the opening in its journal still adds something, however long this machine plans.
            if not self._time_left() and given:
                return
            given = True
            yield self._job(cases)

    def _job(self, cases: Sequence[BenchmarkCase]) -> Job:
        whole = cases[0].blocks is None
        settings = dataclasses.replace(self._settings, window=NETWORK_WINDOW) if whole else self._settings
        return Job(cases=tuple(cases), profile=self.request.profile, settings=settings)

    def _opening(self) -> Iterator[Sequence[BenchmarkCase]]:
        request, around = self.request, self._around
        tails = sampling.tails(request.space, request.profile, around)[:_OPENING_TAILS]
        stems = sampling.stems(request.space, around)
        yield from self._new([*stems, *tails, *islice(self._blocks, _OPENING_BLOCKS)])
        yield from self._new(self._more_networks(_FEWEST_NETWORKS - len(self.results.networks())))

    def _cycles(self) -> Iterator[Sequence[BenchmarkCase]]:
        request = self.request
        yield from self._new(sampling.tails(request.space, request.profile, self._around)[_OPENING_TAILS:])
        for cycle in count():
            yield from self._new(list(islice(filter(self._unknown, self._blocks), _BLOCKS_PER_CYCLE)))
            yield from self._new(self._more_networks(NETWORKS_PER_JOB))
            searched = self._searched(cycle)
            yield from self._new(sampling.blocks_of(searched, self._around)[:_CHOSEN_PER_CYCLE])
            yield from self._new([BenchmarkCase(structure=structure) for structure in searched])
            yield from _batched(self._again())

    def _more_networks(self, wanted: int) -> list[BenchmarkCase]:
        """Return at most so many whole networks that were not measured yet: a small space may have no more."""
        drawn = islice(self._networks, _DRAWS_PER_NETWORK * max(0, wanted))
        return list(islice(filter(self._unknown, drawn), max(0, wanted)))

    def _new(self, cases: Iterable[BenchmarkCase]) -> Iterator[Sequence[BenchmarkCase]]:
        """Yield batches of those that were not measured yet."""
        yield from _batched(list(dict.fromkeys(filter(self._unknown, cases))))

    def _unknown(self, case: BenchmarkCase) -> bool:
        return not self.results.jobs_of(case) and case.key not in self.results.failures

    def _again(self) -> list[BenchmarkCase]:
        """Return what is worth another look: first what disagrees with itself, then what was measured once."""
        results = self.results
        known = [case for key, case in results.cases.items() if key in results.measured]
        unstable = [one for one in known if results.spread_of(one) > UNSTABLE and results.jobs_of(one) < len(known)]
        unstable.sort(key=lambda one: (results.jobs_of(one), -results.spread_of(one)))
        rest = sorted((one for one in known if one not in unstable), key=results.jobs_of)
        return [*unstable, *rest][:_REPEATS_PER_CYCLE]

    def _searched(self, cycle: int) -> list[Structure]:
        """Return what the search finds under the table so far, at limits within what was measured."""
        table = self.table()
        self._error = table.calibration.error
        self._watch(self._standing())
        if len(table.networks) < _FEWEST_NETWORKS:
            return []
        seconds = [network.seconds for network in table.networks]
        random = np.random.default_rng((self._seed, cycle))
        limits = np.exp(random.uniform(np.log(min(seconds)), np.log(max(seconds)), _LIMITS))
        space = dataclasses.replace(self.request.space, latency=LatencyModel(table, self.request.profile))
        kept: dict[Budget, float] = {kind: limit for kind, limit in self.request.budgets.items() if kind in HELD}
        found = []
        for limit in limits.tolist():
            try:
                found.append(solve(Problem.of(space, {**kept, LATENCY: limit})).found[0].structure)
            except RequestError:
                # The other budgets do not allow anything that fast.
                continue
        return found


def settings_document(settings: JobSettings, seed: int) -> dict[str, Any]:
    """Return how a table is measured, as JSON-ready data."""
    return {
        "threads": settings.threads,
        "rounds_per_job": settings.rounds,
        "seconds_per_round": settings.window,
        "seconds_per_round_of_networks": NETWORK_WINDOW,
        "batch": 1,
        "seed": seed,
    }


def _batched(cases: Sequence[BenchmarkCase]) -> Iterator[Sequence[BenchmarkCase]]:
    for whole in (False, True):
        alike = [one for one in cases if (one.blocks is None) is whole]
        size = NETWORKS_PER_JOB if whole else FRAGMENTS_PER_JOB
        yield from (alike[start : start + size] for start in range(0, len(alike), size))
