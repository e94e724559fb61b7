"""Whole networks, measured beside the reference graph over several passes, so that a slow minute spoils none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qedeploy.campaign.jobs import Job, JobSettings
from qedeploy.campaign.journal import Entry, Journal
from qedeploy.campaign.planner import NETWORKS_PER_JOB, Execute
from qedeploy.campaign.results import Results
from qedeploy.export.benchmark_cases import BenchmarkCase
from qedeploy.latency.table import NetworkPoint
from qedeploy.network.structure import Structure
from qedeploy.profiles.profile import Profile

PASSES = 3
"""Jobs that measure each network, far apart in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredNetworks:
    """The times of networks, in the order asked for; None where every job of a network was lost or failed.

    `points` count the reference graph at `reference_seconds`, its own time in this measurement. `failures` are reasons.
    """

    points: tuple[NetworkPoint | None, ...]
    reference_seconds: float
    machine: Mapping[str, Any]
    runtime: Mapping[str, Any]
    failures: tuple[str, ...]


def measure_networks(
    structures: Sequence[Structure],
    profile: Profile,
    settings: JobSettings,
    execute: Execute,
    *,
    journal: Journal,
    watch: Callable[[int, int], None] = lambda _done, _total: None,
) -> MeasuredNetworks:
    """Measure `structures` (distinct) in several passes of jobs; networks in the journal count as measured.

    `watch` gets the jobs done and those in all. Raises RequestError where the profile's runtime does not run the
    reference graph, MissingRuntimeError where it is not here.
    """
    cases = [BenchmarkCase(structure=structure) for structure in structures]
    results = Results()
    for entry in journal.read():
        results.add(entry.cases, entry.result)
    wanted = [
        batch
        for number in range(PASSES)
        for batch in _batches(cases, number)
        if any(results.jobs_of(case) <= number and case.key not in results.failures for case in batch)
    ]
    jobs = (Job(cases=batch, profile=profile, settings=settings) for batch in wanted)
    for done, (job, result) in enumerate(execute(jobs), start=1):
        if result is not None:
            results.add(job.cases, result)
            journal.append(Entry(cases=job.cases, result=result))
        watch(done, len(wanted))
    reference = results.reference_seconds if results.references else 0.0
    return MeasuredNetworks(
        points=tuple(results.network(case, reference) for case in cases),
        reference_seconds=reference,
        machine=results.machine,
        runtime=results.runtime,
        failures=tuple(dict.fromkeys(results.failures.values())),
    )


def _batches(cases: Sequence[BenchmarkCase], number: int) -> Iterator[tuple[BenchmarkCase, ...]]:
    """Yield the benchmark cases, grouped differently in each pass."""
    step = -(-len(cases) // NETWORKS_PER_JOB)
    turned = [*cases[number:], *cases[:number]]
    for start in range(step):
        batch = turned[start::step]
        if batch:
            yield tuple(batch)
