"""Runs the whole path of TensorRT or TensorRT for RTX on this GPU and writes what it found to docs/measured/<gpu>.md.

The golden structures in float16, INT8 (as searched, and uniform W8A8) and INT4 (W4A16 pointwise layers), built, checked
against PyTorch's run of their plan, timed and profiled; then the questions that only a GPU answers.

Run on a machine with a GPU: pip install '.[tensorrt]' && python benchmarks/tensorrt_gpu.py [--batches 1,8,32]
With --rtx, TensorRT for RTX takes its place: pip install '.[tensorrt-rtx]', on a card that one of its profiles is for.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qedeploy.bench.benchmark import BenchOptions, benchmark
from qedeploy.bench.report.document import BenchResult
from qedeploy.errors import UserError
from qedeploy.export.baselines import uniform_structure
from qedeploy.export.compile import BuildChoice, BuildOutcome, build_artefact
from qedeploy.export.exporter import ExportResult, ExportSettings, export_again, export_checkpoint
from qedeploy.model.build import build
from qedeploy.model.checkpoint import save_checkpoint
from qedeploy.network.lightnas import from_blocks
from qedeploy.network.structure import Bits, Block, Structure
from qedeploy.profiles.loader import load_profile, profile_names
from qedeploy.qdq import simulation
from qedeploy.runtimes.nvidia.fallback import without_quantization
from qedeploy.runtimes.nvidia.machine import Gpu, probe
from qedeploy.runtimes.nvidia.product import TENSORRT
from qedeploy.runtimes.nvidia.record import read_record
from qedeploy.runtimes.nvidia.report import read_figures
from qedeploy.runtimes.nvidia.settings import BatchRange
from qedeploy.runtimes.runner import RunnerOptions
from qedeploy.runtimes.runners import open_runner
from qedeploy.runtimes.tensorrt_rtx.runtime import PRODUCT
from qedeploy.runtimes.timing import TimingProtocol
from qedeploy.units import parse_seconds

ROOT = Path(__file__).parent.parent
GOLDEN = ROOT / "tests" / "golden" / "named_structures.json"
NAMES = ("mixed7d0G", "mixed19d2G")
W8A8, W4A16 = Bits(weight=8, activation=8), Bits(weight=4, activation=16)


@dataclass(frozen=True)
class Case:
    """One engine to measure. `change` makes its structure of the golden one; `half` takes all quantization out."""

    name: str
    profile: str
    change: Callable[[Structure], Structure]
    half: bool = False


def weight_only(structure: Structure) -> Structure:
    """Return `structure` with W4A16 pointwise layers, head and classifier, W8A8 depthwise layers and stem."""
    block = Block(expand=W4A16, depthwise=W8A8, project=W4A16)
    return dataclasses.replace(
        uniform_structure(structure, 8),
        stages=tuple(dataclasses.replace(stage, blocks=(block,) * len(stage.blocks)) for stage in structure.stages),
        head=dataclasses.replace(structure.head, bits=W4A16),
        classifier=dataclasses.replace(structure.classifier, bits=W4A16),
    )


CASES = (
    Case("float16", "t4-int8", lambda structure: uniform_structure(structure, 8), half=True),
    Case("INT8, uniform W8A8", "t4-int8", lambda structure: uniform_structure(structure, 8)),
    Case("INT8, searched widths carried", "t4-int8", lambda structure: structure),
    Case("INT4, pointwise W4A16", "t4-int4", weight_only),
)


@dataclass(frozen=True)
class Row:
    """What one engine gave; `error` in place of figures where it could not be had."""

    structure: str
    case: str
    batch: int
    error: str = ""
    result: BenchResult | None = None
    outcome: BuildOutcome | None = None
    logit_error: float = 0.0
    engine_layers: Mapping[str, Any] | None = None


def measure_case(name: str, case: Case, batches: list[int], duration: float) -> Iterator[Row]:
    """Export a case once, and build, check and time its engine for each batch."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        result = exported(name, case, folder)
        for batch in batches:
            yield measure(name, case, result, batch, duration)


def measure(name: str, case: Case, result: ExportResult, batch: int, duration: float) -> Row:
    """Build, check and time one engine."""
    try:
        settings = {"engine_batch": str(batch)}
        outcome = build_artefact(result, BuildChoice.REQUIRED, settings, on_event=show)
        if outcome.artefact is None:
            raise UserError(outcome.reason)
        options = BenchOptions(
            runner=RunnerOptions(batch=batch), protocol=TimingProtocol(duration=duration), twins=False
        )
        found = benchmark(outcome.artefact.path, options)
        error = logit_error(outcome, batch)
        record = read_record(outcome.artefact.path)
    except UserError as failure:
        said = str(failure).replace(f"{result.model.parent}/", "")
        return Row(structure=name, case=case.name, batch=batch, error=said)
    return Row(
        structure=name,
        case=case.name,
        batch=batch,
        result=found,
        outcome=outcome,
        logit_error=error,
        engine_layers=None if record is None else record.engine_layers,
    )


def exported(name: str, case: Case, folder: Path) -> ExportResult:
    """Return the verified ONNX file of one case, with random weights."""
    record = next(item for item in json.loads(GOLDEN.read_text()) if item["name"] == name)
    structure = case.change(from_blocks(record["structure"]))
    checkpoint = folder / "model.pth"
    network = build(structure, unsigned_activation_bits=7, seed=0)
    save_checkpoint(checkpoint, network, profile=case.profile, recipe={})
    result = export_checkpoint(checkpoint, settings=ExportSettings(profile=case.profile))
    if not case.half:
        return result
    names = [layer.name for layer in result.plan.layers]
    lowered = without_quantization(result.prepared.network, names)
    # Nothing reads the shortcuts' rounding any more.
    plan = dataclasses.replace(lowered.plan, values=(), quantized_shortcuts=(), notes=())
    return export_again(result, dataclasses.replace(lowered, plan=plan))


def logit_error(outcome: BuildOutcome, batch: int) -> float:
    """Return the engine's largest logit difference to PyTorch's run of its plan, as a share of the largest logit."""
    if outcome.artefact is None:
        raise ValueError("there is no engine")
    prepared = outcome.export.prepared
    images = prepared.images[:1].repeat(batch, 1, 1, 1)
    expected = simulation.logits(prepared.network, images[:1]).numpy()
    with open_runner(outcome.artefact.path, RunnerOptions(batch=batch)) as runner:
        (outputs,) = runner.infer({runner.description.inputs[0].name: images.numpy()}).values()
        found = outputs[:1]
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def show(event: object) -> None:
    """Print what TensorRT says while it builds, without its phases."""
    if isinstance(event, dict) and "text" in event:
        print(f"    {event['text']}", flush=True)


def report(rows: list[Row], version: str, gpu: Gpu, rtx: bool) -> Iterator[str]:
    """Yield the lines of the report."""
    first = next((row.result for row in rows if row.result is not None), None)
    yield f"# {gpu.name}"
    yield ""
    kind = (PRODUCT if rtx else TENSORRT).label
    yield f"- {kind} {version}, compute capability {gpu.capability}, {gpu.multiprocessors} multiprocessors, "
    yield f"  {gpu.memory_bytes / 2**30:.0f} GiB, CUDA {gpu.cuda} (driver); {platform.platform()}"
    seen = None if first is None else read_figures(first.engine, first.model.name).conditions
    if seen is not None:
        yield f"- driver {seen.driver}, SM clock up to {seen.sm_clock_limit} MHz, power limit {seen.power_limit} W"
    if first is not None:
        yield f"- settings: {', '.join(f'{key}={value}' for key, value in first.runner.settings.items())}"
        yield f"- latency: {first.runner.latency}"
    yield "- random weights and inputs: times hold, accuracies mean nothing"
    yield ""
    yield "| structure | engine | batch | GPU ms | p99 | end to end ms | INT8 of MACs | of time | reformats | plan MB |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    yield from (figures(row) for row in rows if row.result is not None)
    yield ""
    yield from notes(rows)


def figures(row: Row) -> str:
    """Return a row of the table."""
    result, outcome = row.result, row.outcome
    if result is None or result.engine is None or outcome is None or outcome.artefact is None:
        raise ValueError("the row has no figures")
    engine = read_figures(result.engine, result.model.name)
    reformats = engine.reformat_seconds / engine.profiled_seconds if engine.profiled_seconds else 0.0
    unsure = "" if result.stable else " (unstable)"
    return (
        f"| {row.structure} | {row.case} | {row.batch} | {engine.times.gpu.median * 1e3:.4f}{unsure} "
        f"| {engine.times.gpu.p99 * 1e3:.4f} | {engine.times.latency.median * 1e3:.4f} "
        f"| {share(engine.int8_mac_share)} | {share(engine.int8_time_share)} | {reformats:.0%} "
        f"| {outcome.artefact.size_bytes / 1e6:.2f} |"
    )


def share(value: float | None) -> str:
    """Return a share as text, `?` where it is unknown."""
    return "?" if value is None else f"{value:.0%}"


def notes(rows: list[Row]) -> Iterator[str]:
    """Yield what each engine had to tell beside its figures, errors first."""
    for row in rows:
        where = f"{row.structure}, {row.case}, batch {row.batch}"
        if row.error:
            yield f"- **{where}: not measured**: {row.error}"
            continue
        if row.outcome is None or row.outcome.artefact is None or row.result is None or row.result.engine is None:
            continue
        yield f"- {where}: largest logit difference to PyTorch {row.logit_error:.2%} of the largest logit"
        yield from (f"  - {warning}" for warning in row.outcome.artefact.warnings)
        missed = read_figures(row.result.engine, where).missed
        if missed:
            named = "; ".join(f"{item.name} ({item.reason})" for item in missed)
            yield f"  - planned as INT8, running otherwise: {named}"
        yield from (f"  - {warning}" for warning in row.result.warnings)


def cases_of(gpu: Gpu, *, rtx: bool) -> tuple[Case, ...]:
    """Return the cases with profiles for `gpu`; raises UserError where TensorRT for RTX has none for it."""
    if not rtx:
        return CASES
    profiles = (load_profile(name) for name in profile_names())
    fitting = {profile.target: profile.name for profile in profiles if profile.runtime == "tensorrt_rtx"}
    if gpu.capability not in fitting:
        offered = ", ".join(f"{name} for {target}" for target, name in sorted(fitting.items(), key=str))
        raise UserError(f"{gpu}: expected a card that a profile of TensorRT for RTX is for: {offered}")
    return tuple(dataclasses.replace(case, profile=fitting[gpu.capability]) for case in CASES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", default="1,8,32")
    parser.add_argument("--duration", default="3s")
    parser.add_argument("--structures", default=",".join(NAMES))
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "measured")
    parser.add_argument("--rtx", action="store_true")
    arguments = parser.parse_args()
    try:
        version, gpu = probe(PRODUCT if arguments.rtx else TENSORRT).require()
        cases = cases_of(gpu, rtx=arguments.rtx)
        duration = parse_seconds(arguments.duration, "--duration")
        batches = [BatchRange.parse(text).optimum for text in arguments.batches.split(",")]
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    rows = []
    for name in arguments.structures.split(","):
        for case in cases:
            for row in measure_case(name, case, batches, duration):
                rows.append(row)
                print(f"{name}, {case.name}, batch {row.batch}: {row.error or figures(row)}", flush=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    slug = re.sub(r"[^a-z0-9]+", "-", gpu.name.lower()).strip("-") + ("-rtx" if arguments.rtx else "")
    (arguments.out / f"{slug}.md").write_text("\n".join(report(rows, version, gpu, arguments.rtx)) + "\n")
    inspected = next((row.engine_layers for row in rows if row.engine_layers is not None), None)
    if inspected is not None:
        (arguments.out / f"{slug}-inspector.json").write_text(json.dumps(inspected, indent=1) + "\n")
    print(f"wrote {arguments.out / slug}.md")


if __name__ == "__main__":
    main()
