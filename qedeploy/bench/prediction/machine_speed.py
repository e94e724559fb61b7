"""How fast the machine is now: the reference graph's time beside a run, against its time beside the table's points."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from qedeploy.bench.measure.interleave import median_latency
from qedeploy.bench.prediction.expected import Expectation
from qedeploy.runtimes.registry import find_runtime
from qedeploy.runtimes.runner import Runner, RunnerOptions
from qedeploy.runtimes.runners import open_runner
from qedeploy.runtimes.timing import Samples, TimingProtocol

_SHARE = 1 / 15
"""Length of each of the two runs of the reference graph, as a share of the measured run's."""


def measure_at_pace(
    runner: Runner, protocol: TimingProtocol, expectation: Expectation | None, options: RunnerOptions
) -> tuple[Samples, float | None]:
    """Return the samples of `runner`, and the reference graph's time divided by its time in the table.

    The reference graph is timed just before and just after the run. The second is None where there is no table of
    this machine, or it has no reference graph, or it would have to be built first.
    """
    if expectation is None or expectation.differences or _is_built(expectation):
        return runner.measure(protocol), None
    usual = expectation.table.reference_seconds
    if usual is None:
        return runner.measure(protocol), None
    with ExitStack() as stack:
        look = _reference(stack, expectation, options, protocol)
        before = look()
        samples = runner.measure(protocol)
        return samples, (before + look()) / 2 / usual


def _is_built(expectation: Expectation) -> bool:
    return find_runtime(expectation.profile.runtime).artefact is not None


def _reference(
    stack: ExitStack, expectation: Expectation, options: RunnerOptions, protocol: TimingProtocol
) -> Callable[[], float]:
    """Return what times the reference graph once, in seconds."""
    from qedeploy.export.benchmark_cases import neutral_bits, reference_case, write_case

    profile = expectation.profile
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="qedeploy-reference-")))
    path = write_case(reference_case(neutral_bits(profile)), profile, folder)
    reference = stack.enter_context(open_runner(path, replace(options, batch=None), profile.runtime))
    share = replace(protocol, duration=protocol.duration * _SHARE)
    return lambda: median_latency(reference.measure(share))
