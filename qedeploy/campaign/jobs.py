"""One job of a measurement: a few cases in alternating rounds beside the reference graph, in one process.

Times are kept as ratios to the reference graph's, met by the same state of the machine: a slow minute of a shared
machine slows both. A job is plain data in and out, so it can run in another process or on another machine.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from qedeploy.bench.attribution.profiler_overhead import seconds_by_part, without_overhead
from qedeploy.bench.measure.interleave import interleave, median_latency
from qedeploy.bench.measure.machine import describe_machine
from qedeploy.errors import RequestError
from qedeploy.export.benchmark_cases import BenchmarkCase, neutral_bits, reference_case, write_case
from qedeploy.network.graph import structure_graph
from qedeploy.profiles.profile import Profile
from qedeploy.runtimes.node_names import NodeNames
from qedeploy.runtimes.runner import NodeTime, Runner, RunnerOptions
from qedeploy.runtimes.runners import open_runner
from qedeploy.runtimes.timing import TimingProtocol


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSettings:
    """How cases are measured: `rounds` windows of `window` seconds each, on `threads` CPU threads."""

    threads: int = 1
    rounds: int = 5
    window: float = 0.025


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Cases to measure together on a device of `profile`."""

    cases: tuple[BenchmarkCase, ...]
    profile: Profile
    settings: JobSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredCase:
    """What one case took: all times are in units of the reference graph's.

    `ratios` has an entry for each round. `parts` are usual times by layer name, `<block>.shortcut` and `classifier`,
    of a fragment; empty for a whole network.
    """

    key: str
    ratios: tuple[float, ...]
    parts: Mapping[str, float] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """The median over the rounds."""
        return float(np.median(self.ratios))


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """What a job measured, `reference_seconds` being the reference graph's median in this job.

    `failures` gives the reason, by key, for cases that the runtime does not execute.
    """

    measured: tuple[MeasuredCase, ...]
    failures: Mapping[str, str]
    reference_seconds: float
    machine: Mapping[str, Any]
    runtime: Mapping[str, Any]


def run_job(job: Job) -> JobResult:
    """Measure the cases of a job; the one function that workers execute.

    Raises MissingRuntimeError where the device lacks the runtime, RequestError where the reference graph itself does
    not run.
    """
    around = neutral_bits(job.profile)
    options = RunnerOptions(threads=job.settings.threads)
    with tempfile.TemporaryDirectory(prefix="qedeploy-measure-") as name, ExitStack() as stack:
        folder = Path(name)
        reference = stack.enter_context(
            open_runner(write_case(reference_case(around), job.profile, folder), options, job.profile.runtime)
        )
        runners: dict[str, Runner] = {}
        failures: dict[str, str] = {}
        for case in job.cases:
            try:
                path = write_case(case, job.profile, folder)
                runners[case.key] = stack.enter_context(open_runner(path, options, job.profile.runtime))
            except RequestError as error:
                failures[case.key] = str(error)
        protocol = TimingProtocol(
            duration=job.settings.window * job.settings.rounds, iterations=3 * job.settings.rounds
        )
        # The reference stands between any two cases, so that each has one just before it and one just behind.
        queue: dict[str, Runner] = {_beside(0): reference}
        for number, (key, runner) in enumerate(runners.items(), start=1):
            queue |= {key: runner, _beside(number): reference}
        rounds = interleave(queue, protocol, rounds=job.settings.rounds)
        medians = {key: np.array([median_latency(samples) for samples in taken]) for key, taken in rounds.items()}
        references = [medians[_beside(number)] for number in range(len(runners) + 1)]
        measured = []
        for number, case in enumerate(case for case in job.cases if case.key in runners):
            ratios = medians[case.key] / ((references[number] + references[number + 1]) / 2)
            parts = {} if case.blocks is None else _parts(case, runners[case.key], reference, job, ratios)
            measured.append(MeasuredCase(key=case.key, ratios=tuple(ratios.tolist()), parts=parts))
        description = reference.description
    return JobResult(
        measured=tuple(measured),
        failures=failures,
        reference_seconds=float(np.median(references)),
        machine=dataclasses.asdict(describe_machine()),
        runtime={"name": description.runtime, "version": description.version, "device": description.device},
    )


def _beside(number: int) -> str:
    # No case's key looks like this: keys are hexadecimal digits, some of them decimal ones only.
    return f"reference {number}"


def _parts(
    case: BenchmarkCase, runner: Runner, reference: Runner, job: Job, ratios: np.ndarray[Any, Any]
) -> dict[str, float]:
    """Return the parts of a fragment in units of the reference: the profiler's shares of the time without it."""
    window = job.settings.window * 2
    protocol = TimingProtocol(warm_up=window / 5, duration=window, iterations=10)
    before = median_latency(reference.measure(protocol))
    profile = runner.profile(protocol)
    now = (before + median_latency(reference.measure(protocol))) / 2
    wall = float(np.median(ratios)) * now
    inner = inner_nodes(without_overhead(profile, wall), case, profile.names)
    found = seconds_by_part(inner, structure_graph(case.structure), profile.names)
    return {name: seconds / now for name, seconds in found.items()}


def inner_nodes(nodes: Sequence[NodeTime], case: BenchmarkCase, names: NodeNames) -> tuple[NodeTime, ...]:
    """Return the nodes that the fragment has in a whole network as well, without those at its cut edges.

    Inside it, a Transpose is one that the cut brought there too: a whole network keeps its layout.
    """
    blocks = case.blocks or ()
    inside = [index for index, node in enumerate(nodes) if node.op_type not in names.edges]
    first, last = inside[0], inside[-1]
    if "stem" in blocks:
        first = 0
    if "classifier" in blocks:
        last = len(nodes) - 1
    kept = nodes[first : last + 1]
    if "stem" in blocks:
        return tuple(kept)
    return tuple(node for node in kept if node.op_type != "Transpose")
