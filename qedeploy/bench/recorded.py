"""A run that another tool recorded, here or elsewhere, as the same result that a measurement here gives."""

from __future__ import annotations

from pathlib import Path

from qedeploy.bench.benchmark import BenchOptions, Measurement, result_of
from qedeploy.bench.measure.machine import Machine
from qedeploy.bench.prediction.expected import expect
from qedeploy.bench.report.document import BenchResult
from qedeploy.errors import UserError
from qedeploy.runtimes.recorded import Recordings


def report_recording(recordings: Recordings, folder: Path, options: BenchOptions) -> BenchResult:
    """Return the result of the run that a tool recorded in `folder`; gates on a figure of its own are judged.

    Raises UserError where the files are missing or damaged, or where an option needs a model to run.
    """
    if options.against is not None:
        raise UserError(
            "--against: cannot be timed in alternation with a recorded run: bench both models on one machine"
        )
    if options.table.update:
        raise UserError("--update-table: expected a model that is measured here, found a recorded run: leave one out")
    run = recordings.read(folder)
    machine = _machine(recordings.tool)
    expectation, problem = expect(run.metadata, options.table, machine, run.description)
    measured = Measurement(
        machine=machine,
        description=run.description,
        metadata=run.metadata,
        against=None,
        samples=run.samples,
        rounds={},
        profile=run.profile,
        report=run.report,
        expectation=expectation,
        no_expectation=problem,
    )
    return result_of(run.source, options, measured)


def _machine(tool: str) -> Machine:
    unknown = f"not recorded (measured by {tool})"
    return Machine(
        cpu=unknown,
        physical_cores=None,
        logical_cores=None,
        usable_cores=1,
        instruction_sets=(),
        memory_bytes=0,
        system=unknown,
        python=unknown,
        packages=(),
        governor=None,
        load=None,
    )
