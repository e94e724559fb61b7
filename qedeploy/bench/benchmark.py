"""A benchmark from file to result: the headline run, the comparisons in alternation, the profiled pass."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from qedeploy.bench.attribution.attribution import Attribution, attribute
from qedeploy.bench.attribution.estimates import LayerEstimate, estimate
from qedeploy.bench.attribution.file_layers import file_estimates, file_findings, with_owners
from qedeploy.bench.gates import Gate, TimingVerdict, judge_absolute, judge_relative
from qedeploy.bench.measure.interleave import ROUNDS, interleave, ratio
from qedeploy.bench.measure.machine import Machine, describe_machine
from qedeploy.bench.measure.stage import BenchStage
from qedeploy.bench.prediction.expected import Expectation, TableOptions, expect
from qedeploy.bench.prediction.machine_speed import measure_at_pace
from qedeploy.bench.prediction.prediction import Prediction, compare, prediction_findings, prediction_warnings
from qedeploy.bench.prediction.table_update import Lesson, require_updatable, update_table
from qedeploy.bench.report.comparisons import FLOAT_TWIN, THIS_MODEL, W8A8_TWIN, compared_findings, withheld_reason
from qedeploy.bench.report.document import BenchResult, ComparedModel, ModelFile, ProfiledPass, Totals
from qedeploy.bench.report.doubts import Circumstances, products_findings, warnings
from qedeploy.bench.report.findings import profile_findings
from qedeploy.bench.report.layer_rows import explain, layer_rows
from qedeploy.bench.report.origin import planned_for, surroundings_of
from qedeploy.errors import UserError
from qedeploy.files import sha256
from qedeploy.runtimes.base import Runtime
from qedeploy.runtimes.options import require_known
from qedeploy.runtimes.products import Products
from qedeploy.runtimes.registry import run_options, runtime_of
from qedeploy.runtimes.runner import ProfiledRun, Reporter, Runner, RunnerDescription, RunnerOptions
from qedeploy.runtimes.runners import open_runner
from qedeploy.runtimes.sections import RuntimeReport
from qedeploy.runtimes.timing import MAX_VARIATION, Samples, Summary, TimingProtocol, summarize

if TYPE_CHECKING:
    from qedeploy.export.onnx_networks.layer_table import FileLayers
    from qedeploy.qdq.metadata import ModelMetadata

Progress = Callable[[BenchStage], None]

_PROFILED_SHARE = 1 / 2
"""Length of the profiled pass as a share of the headline run's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOptions:
    """What to measure beside the model, for how long, and what fails it.

    `runtime` names the one to measure on, which is then set beside the one that the file is for.
    """

    runner: RunnerOptions = field(default_factory=RunnerOptions)
    protocol: TimingProtocol = field(default_factory=TimingProtocol)
    twins: bool = True
    against: Path | None = None
    runtime: str | None = None
    gates: tuple[Gate, ...] = ()
    variation_limit: float = MAX_VARIATION
    table: TableOptions = field(default_factory=TableOptions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What came off the machine. `rounds` are the samples of each alternated model by name, empty for one alone.

    `report` is what only the runtime can tell, `file_layers` are the layers of a file that says nothing of itself.
    `damage` says what is wrong with metadata that the file has and that cannot be read.
    `expectation` is what a latency table led one to expect, `no_expectation` why one that there is says nothing, and
    `pace` how many times as long as with the table the reference graph took. `products` says of the models by name how
    exactly this machine multiplies their integers, where that depends on it.
    """

    machine: Machine
    description: RunnerDescription
    metadata: ModelMetadata | None
    against: ModelMetadata | None
    samples: Samples
    rounds: Mapping[str, tuple[Samples, ...]]
    profile: ProfiledRun
    report: RuntimeReport = field(default_factory=RuntimeReport)
    damage: str = ""
    expectation: Expectation | None = None
    no_expectation: str = ""
    file_layers: FileLayers | None = None
    pace: float | None = None
    products: Mapping[str, Products] = field(default_factory=dict)


def benchmark(path: Path, options: BenchOptions, progress: Progress = lambda _: None) -> BenchResult:
    """Return what measuring `path` found.

    Raises UserError for a file that is no model, a setting that no runtime has, a model to compare with that takes
    other inputs, or a gate that needs one and has none; RequestError for a model that the runtime cannot execute, or a
    latency table to update that is not of this machine. Gates and the update are judged here and enforced by the
    caller, once the result is written.
    """
    require_known(run_options(), options.runner.settings)
    relative = next((gate for gate in options.gates if gate.relative), None)
    if relative is not None and options.against is None:
        raise UserError(f"--fail-if {relative.text!r}: x compares with another model: expected --against FILE as well")
    measured = _measure(path, options, progress)
    result = result_of(path, options, measured)
    if not options.table.update or measured.expectation is None:
        return result
    lesson = Lesson(
        samples=measured.samples,
        profile=measured.profile,
        pace=measured.pace or 1.0,
        variation_limit=options.variation_limit,
    )
    return replace(result, table_update=update_table(measured.expectation, lesson))


def _measure(path: Path, options: BenchOptions, progress: Progress) -> Measurement:
    machine = describe_machine()
    with ExitStack() as stack:
        progress(BenchStage(text=f"loading {path.name}"))
        runner = stack.enter_context(open_runner(path, options.runner, options.runtime))
        others = _open_against(stack, runner, options) | _open_elsewhere(stack, path, options)
        files = {THIS_MODEL: path} | ({options.against.name: options.against} if options.against else {})
        metadata, damage = _metadata(path)
        expectation, problem = expect(metadata, options.table, machine, runner.description)
        if options.table.update and expectation is not None:
            require_updatable(expectation)
        twins = options.twins and _elsewhere(path, options) is None and runtime_of(path).baselines
        if metadata is not None and twins and planned_for(metadata.plan.runtime, runner.description):
            progress(BenchStage(text="writing the float32 and W8A8 twins"))
            written = _write_twins(stack, metadata, options.runner)
            others |= {name: stack.enter_context(open_runner(file, options.runner)) for name, file in written.items()}
            files |= written
        profiling = options.protocol.duration * _PROFILED_SHARE
        rounds_left = options.protocol.duration * (1 + len(others)) if others else 0.0
        left = options.protocol.warm_up + options.protocol.duration + rounds_left + profiling
        progress(BenchStage(text=f"timing {path.name}", seconds_left=left))
        samples, pace = measure_at_pace(runner, options.protocol, expectation, options.runner)
        rounds = _alternate(runner, others, options.protocol, progress)
        progress(BenchStage(text="profiling node by node", seconds_left=profiling))
        profile = runner.profile(replace(options.protocol, duration=profiling))
        return Measurement(
            machine=machine,
            description=runner.description,
            metadata=metadata,
            damage=damage,
            against=_metadata(options.against)[0] if options.against else None,
            samples=samples,
            rounds=rounds,
            profile=profile,
            report=runner.report() if isinstance(runner, Reporter) else RuntimeReport(),
            expectation=expectation,
            no_expectation=problem,
            file_layers=None if metadata is not None else _file_layers(path, runner.description),
            pace=pace,
            products=_products(files, metadata.profile if metadata else None),
        )


def result_of(path: Path, options: BenchOptions, measured: Measurement) -> BenchResult:
    """Return what `measured` says of the model in `path`."""
    summary, metadata = summarize(measured.samples), measured.metadata
    attribution, estimates, file_findings = _attributed(measured)
    correlations, time_model = explain(estimates, attribution)
    profiled = ProfiledPass(
        layers=layer_rows(attribution, estimates, metadata, time_model),
        overheads=attribution.overheads,
        nodes=measured.profile.nodes,
        whole=attribution.whole,
        queries=attribution.queries,
        statistic=measured.profile.statistic,
        beside=measured.profile.beside,
    )
    compared = _compared(measured, options, summary)
    model = _model_file(path, metadata)
    prediction = _predicted(measured, summary)
    circumstances = Circumstances(
        summary=summary,
        variation_limit=options.variation_limit,
        compared=compared,
        machine=measured.machine,
        runner=measured.description,
        profiled=profiled,
        plan_runtime=metadata.plan.runtime if metadata else None,
        names=measured.profile.names,
        damage=measured.damage,
        products=measured.products.get(THIS_MODEL),
    )
    return BenchResult(
        model=model,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=measured.machine,
        runner=measured.description,
        protocol=options.protocol,
        seed=options.runner.seed,
        variation_limit=options.variation_limit,
        summary=summary,
        compared=compared,
        profiled=profiled,
        totals=_totals(estimates),
        correlations=correlations,
        time_model=time_model,
        findings=(
            *compared_findings(compared, profiled.layers, options.variation_limit),
            *prediction_findings(prediction),
            *profile_findings(profiled),
            *file_findings,
            *products_findings(circumstances),
            *measured.report.findings,
        ),
        warnings=(
            *warnings(circumstances),
            *prediction_warnings(prediction, measured.no_expectation),
            *measured.report.warnings,
        ),
        verdicts=tuple(_judge(gate, measured, summary, options) for gate in options.gates),
        engine=measured.report.figures,
        sections=measured.report.sections,
        surroundings=surroundings_of(path, model.sha256, metadata, measured.description),
        prediction=prediction,
    )


def _attributed(measured: Measurement) -> tuple[Attribution, tuple[LayerEstimate, ...], tuple[str, ...]]:
    """Return where the time went, what each layer costs, and what is to be said of layers that a file does not name."""
    profile, layers = measured.profile, measured.file_layers
    if layers is None:
        estimates = _estimates(measured.metadata, measured.description.batch)
        names = [item.name for item in estimates] if measured.metadata else None
        return attribute(profile, names), estimates, ()
    attribution = attribute(with_owners(profile, layers), [layer.name for layer in layers.layers])
    return (
        attribution,
        file_estimates(layers, attribution, profile.names),
        file_findings(layers, attribution, profile.names),
    )


def _file_layers(path: Path, description: RunnerDescription) -> FileLayers | None:
    """Return the layers of an ONNX file, None for other files and for graphs that have none of known sizes."""
    if path.suffix.lower() != ".onnx":
        return None
    from qedeploy.export.onnx_networks.layer_table import read_layers

    try:
        found = read_layers(path, {tensor.name: tensor.shape for tensor in description.inputs})
    except UserError:
        # The runtime runs what onnx's own reader does not take: it is measured node by node then.
        return None
    return found if found.layers else None


def _predicted(measured: Measurement, summary: Summary) -> Prediction | None:
    if measured.expectation is None:
        return None
    return compare(measured.expectation, measured.profile, summary.median, measured.pace)


def _metadata(path: Path) -> tuple[ModelMetadata | None, str]:
    """Return what a model says of itself, and what is wrong where it says it illegibly."""
    from qedeploy.qdq.metadata import DamagedMetadataError

    try:
        return runtime_of(path).metadata(path), ""
    except DamagedMetadataError as error:
        return None, str(error)


def _elsewhere(path: Path, options: BenchOptions) -> Runtime | None:
    """Return the runtime that a file is for, where it is measured on another."""
    usual = runtime_of(path)
    return None if options.runtime in (None, usual.name) else usual


def _open_elsewhere(stack: ExitStack, path: Path, options: BenchOptions) -> dict[str, Runner]:
    usual = _elsewhere(path, options)
    if usual is None:
        return {}
    return {f"the same file on {usual.label}": stack.enter_context(usual.open(path, options.runner))}


def _open_against(stack: ExitStack, runner: Runner, options: BenchOptions) -> dict[str, Runner]:
    if options.against is None:
        return {}
    other = stack.enter_context(open_runner(options.against, options.runner))
    ours, theirs = runner.description.inputs, other.description.inputs
    if [(item.element_type, item.shape) for item in ours] != [(item.element_type, item.shape) for item in theirs]:
        expected, found = ", ".join(map(str, ours)), ", ".join(map(str, theirs))
        raise UserError(f"{options.against}: expected the measured model's inputs ({expected}), found {found}")
    return {options.against.name: other}


def _write_twins(stack: ExitStack, metadata: ModelMetadata, options: RunnerOptions) -> dict[str, Path]:
    from qedeploy.export.baselines import write_float_twin, write_w8a8_twin

    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="qedeploy-twins-")))
    return {
        FLOAT_TWIN: write_float_twin(metadata, folder / "float32.onnx", batch=options.batch),
        W8A8_TWIN: write_w8a8_twin(metadata, folder / "w8a8.onnx", batch=options.batch),
    }


def _products(files: Mapping[str, Path], profile: str | None) -> dict[str, Products]:
    """Return how exactly this machine multiplies the integers of models by name; `profile` is the measured one's."""
    found = {
        name: runtime_of(file).products(file.read_bytes(), profile if name == THIS_MODEL else None)
        for name, file in files.items()
    }
    return {name: products for name, products in found.items() if products is not None}


def _alternate(
    runner: Runner, others: Mapping[str, Runner], protocol: TimingProtocol, progress: Progress
) -> dict[str, tuple[Samples, ...]]:
    if not others:
        return {}
    names = ", ".join(others)
    return interleave(
        {THIS_MODEL: runner, **others},
        protocol,
        progress=lambda done: progress(
            BenchStage(
                text=f"alternating with {names} (round {done} of {ROUNDS})",
                seconds_left=protocol.duration * ((1 + len(others)) * (1 - done / ROUNDS) + _PROFILED_SHARE),
            )
        ),
    )


def _estimates(metadata: ModelMetadata | None, batch: int) -> tuple[LayerEstimate, ...]:
    return estimate(metadata.graph, metadata.plan.executed_bits(), batch) if metadata else ()


def _uniform_estimates(metadata: ModelMetadata, batch: int) -> tuple[LayerEstimate, ...]:
    from qedeploy.export.baselines import uniform

    return estimate(uniform(metadata.graph, 8), {}, batch)


def _totals(estimates: Sequence[LayerEstimate]) -> Totals | None:
    if not estimates:
        return None
    return Totals(
        nominal_bitops=sum(item.nominal_bitops for item in estimates),
        executed_bitops=sum(item.executed_bitops for item in estimates),
    )


def _compared(measured: Measurement, options: BenchOptions, alone: Summary) -> tuple[ComparedModel, ...]:
    if not measured.rounds:
        return ()
    batch = measured.description.batch
    totals = {THIS_MODEL: _totals(_estimates(measured.metadata, batch))}
    if W8A8_TWIN in measured.rounds and measured.metadata is not None:
        totals[W8A8_TWIN] = _totals(_uniform_estimates(measured.metadata, batch))
    if options.against is not None:
        totals[options.against.name] = _totals(_estimates(measured.against, batch))
    own = measured.rounds[THIS_MODEL]
    summaries = {name: summarize(Samples.joined(rounds)) for name, rounds in measured.rounds.items()}
    return tuple(
        ComparedModel(name=name, summary=summaries[name], totals=totals.get(name), doubt=_doubt(measured, name))
        if name == THIS_MODEL
        else ComparedModel(
            name=name,
            summary=summaries[name],
            totals=totals.get(name),
            ratio=ratio(own, rounds),
            withheld=withheld_reason(alone, summaries[THIS_MODEL], summaries[name], options.variation_limit),
            doubt=_doubt(measured, name),
        )
        for name, rounds in measured.rounds.items()
    )


def _doubt(measured: Measurement, name: str) -> str:
    return measured.products[name].doubt if name in measured.products else ""


def _judge(gate: Gate, measured: Measurement, summary: Summary, options: BenchOptions) -> TimingVerdict:
    if not gate.relative or options.against is None:
        return judge_absolute(gate, summary, options.variation_limit)
    own, other = measured.rounds[THIS_MODEL], measured.rounds[options.against.name]
    summaries = [summarize(Samples.joined(rounds)) for rounds in (own, other)]
    return judge_relative(gate, ratio(own, other, gate.of_samples), summaries, options.variation_limit)


def _model_file(path: Path, metadata: ModelMetadata | None) -> ModelFile:
    return ModelFile(
        name=path.name,
        sha256=sha256(path),
        size_bytes=path.stat().st_size,
        profile=metadata.profile if metadata else None,
    )
