"""The published models on this machine's runtime, next to structures found by search under their budgets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from qedeploy.bench.measure.interleave import Ratio, interleave, ratio
from qedeploy.bench.measure.machine import Machine, describe_machine
from qedeploy.export.compile import BuildChoice, build_artefact
from qedeploy.export.exporter import ExportSettings, export_checkpoint
from qedeploy.model.build import build
from qedeploy.model.checkpoint import save_checkpoint
from qedeploy.network.costs import executed_bitops, structure_costs
from qedeploy.network.layers import expand_layers
from qedeploy.network.published import PublishedModel
from qedeploy.network.structure import Structure
from qedeploy.profiles.loader import load_profile
from qedeploy.profiles.profile import Profile
from qedeploy.runtimes.registry import find_runtime
from qedeploy.runtimes.runner import Runner, RunnerDescription, RunnerOptions
from qedeploy.runtimes.runners import open_runner
from qedeploy.runtimes.timing import MAX_VARIATION, Samples, Summary, TimingProtocol, summarize
from qedeploy.search.costs.budgets.counted import BITOPS
from qedeploy.search.exact.search import search_exactly
from qedeploy.search.request import make_request
from qedeploy.search.score.kinds.qe_score import qe_score

_GIGA = 1e9

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredModel:
    """One model in a bench of several. `against_first` is its latency over the first model's, in alternation.

    `top1_percent` is the published one, None for a structure that was found here and never trained.
    """

    name: str
    top1_percent: str | None
    score: float
    bitops: float
    executed_bitops: float
    summary: Summary
    against_first: Ratio


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedBench:
    """What was measured, on what and how: the first entry of `models` is the one the others are compared with."""

    machine: Machine
    runner: RunnerDescription
    protocol: TimingProtocol
    models: tuple[MeasuredModel, ...]


def bench_published(
    models: Sequence[PublishedModel],
    folder: Path,
    *,
    profile_name: str,
    protocol: TimingProtocol = TimingProtocol(),
    options: RunnerOptions = RunnerOptions(),
    seed: int = 0,
    progress: Progress = lambda _: None,
) -> PublishedBench:
    """Return the latency of every model, and of a structure searched under each distinct printed BitOps.

    Each is built with initialised weights (latency does not depend on them), exported for `profile_name` into `folder`
    and verified, and built where its runtime wants that; all are then timed in alternation. Raises RequestError where
    the profile runs none of this, MissingRuntimeError where this machine lacks the runtime or its device.
    """
    profile = load_profile(profile_name)
    profile.require_runtime()
    find_runtime(profile.runtime).require()
    candidates: list[tuple[str, str | None, Structure]] = [
        (model.name, model.top1_percent, model.structure) for model in models
    ]
    candidates += [(name, None, structure) for name, structure in searched(models, profile_name, progress=progress)]
    with ExitStack() as stack:
        runners: dict[str, Runner] = {}
        for name, _, structure in candidates:
            progress(f"exporting {name}")
            path = _export(structure, folder / _file_name(name), profile, profile_name, seed)
            runners[name] = stack.enter_context(open_runner(path, options, profile.runtime))
        progress(f"timing {len(runners)} models in alternation")
        machine, description = describe_machine(), runners[candidates[0][0]].description
        rounds = interleave(runners, protocol)
    first = rounds[candidates[0][0]]
    measured = tuple(
        MeasuredModel(
            name=name,
            top1_percent=top1,
            score=qe_score(structure),
            bitops=structure_costs(structure).bitops,
            executed_bitops=executed_bitops(structure, profile.executed_bits(expand_layers(structure))),
            summary=summarize(Samples.joined(rounds[name])),
            against_first=ratio(rounds[name], first),
        )
        for name, top1, structure in candidates
    )
    return PublishedBench(machine=machine, runner=description, protocol=protocol, models=measured)


def searched(
    models: Sequence[PublishedModel], profile_name: str, *, progress: Progress = lambda _: None
) -> Iterator[tuple[str, Structure]]:
    """Yield `(name, structure)`: the best for the profile under the printed BitOps of each MobileNetV2."""
    for printed in dict.fromkeys(model.bitops_giga for model in models if model.name.startswith("MBV2")):
        progress(f"searching under {printed} GBitOps on {profile_name}")
        request = make_request(profile_name, None, {BITOPS: float(printed) * _GIGA})
        result, _ = search_exactly(request)
        yield f"searched {printed}G", result.structure


def measured_notes(bench: PublishedBench) -> tuple[str, ...]:
    """Return what the figures do not say by themselves, and a warning where a run was unstable."""
    runner = bench.runner
    threads = f"{runner.threads} thread{'' if runner.threads == 1 else 's'}"
    notes = [
        f"{runner.runtime} {runner.version} ({runner.device}) on {bench.machine.cpu}, {threads}, "
        f"batch {runner.batch}; {runner.latency}; at least {bench.protocol.duration:g} s each.",
        "One query in flight; all models in alternating rounds; the ratio's interval is of its median at 95 %.",
        "top-1 as printed, - for structures searched here that nobody trained. A BitOp is counted at 64 a "
        "multiply-accumulate of 8 by 8 bits.",
    ]
    unstable = [item.name for item in bench.models if not item.summary.stable()]
    if unstable:
        notes.append(
            f"warning: latencies vary by more than {MAX_VARIATION:.1%} in {', '.join(unstable)}; the ratios hold, "
            "since other programs met all models alike, single figures may not"
        )
    return tuple(notes)


def _export(structure: Structure, path: Path, profile: Profile, profile_name: str, seed: int) -> Path:
    network = build(structure, unsigned_activation_bits=profile.unsigned_activation_bits, seed=seed)
    checkpoint = save_checkpoint(path, network, profile=profile_name, recipe={})
    result = export_checkpoint(checkpoint, settings=ExportSettings(seed=seed))
    built = find_runtime(profile.runtime).artefact is not None
    return build_artefact(result, BuildChoice.REQUIRED if built else BuildChoice.NEVER, {}).path


def _file_name(name: str) -> str:
    return f"{name.lower().replace(' ', '-')}.pth"
