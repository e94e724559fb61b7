"""The last measurement: the best assignments against the float network, in turn, in files as they will be used."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qedeploy.bench.measure.interleave import Ratio, interleave, ratio
from qedeploy.campaign.quantization.measurement import Bed, measure_sets
from qedeploy.campaign.quantization.request import DEFAULT_ERROR, QuantizationOptions
from qedeploy.errors import RequestError
from qedeploy.export.onnx_networks.preparation import PreparedModel
from qedeploy.files import write_bytes
from qedeploy.runtimes.runner import Runner, RunnerOptions
from qedeploy.runtimes.runners import open_runner
from qedeploy.runtimes.timing import Samples, TimingProtocol
from qedeploy.search.assign.solver import Assignment

ORIGINAL, PREPARED = "original", "prepared"
CONTESTANTS = 3
WORTH = 0.98
"""Share of the float network's time under which integers are worth their error."""

_QUERIES_SECONDS = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """An assignment as it was measured: `error` on the data, `time` as a ratio to the prepared float network's."""

    assignment: Assignment
    error: float
    time: Ratio


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """All that was measured. `preparation` is the prepared float network's time over the original file's.

    `winner` is None where the float network stays; `reason` says why in a sentence.
    """

    contestants: tuple[Contestant, ...]
    preparation: Ratio
    winner: Contestant | None
    reason: str


def hold_contest(
    bed: Bed,
    prepared: PreparedModel,
    assignments: Sequence[Assignment],
    options: QuantizationOptions,
    progress: Callable[[int, int], None],
) -> Contest:
    """Return how `assignments` do against the float network.

    Raises RequestError where a time was asked for and none of them keeps it.
    """
    sets = measure_sets(bed, [item.precisions for item in assignments])
    errors = {index: item.error for index, item in enumerate(sets)}
    allowed = options.budgets.error or (None if options.budgets.limits_time else DEFAULT_ERROR)
    within = [index for index in errors if allowed is None or errors[index] <= allowed]
    chosen = sorted(within, key=lambda index: sets[index].seconds)[:CONTESTANTS]
    with tempfile.TemporaryDirectory(prefix="qedeploy-contest-") as folder, ExitStack() as stack:
        models = {
            ORIGINAL: prepared.original.SerializeToString(),
            PREPARED: prepared.model.SerializeToString(),
            **{str(i): bed.quantizer.write(assignments[i].precisions).model.SerializeToString() for i in chosen},
        }
        runners: dict[str, Runner] = {
            name: stack.enter_context(
                open_runner(write_bytes(Path(folder) / f"{name}.onnx", model), RunnerOptions(threads=options.threads))
            )
            for name, model in models.items()
        }
        rounds = interleave(
            runners,
            TimingProtocol(duration=max(_QUERIES_SECONDS, options.duration)),
            progress=lambda done: progress(done, 15),
        )
    contestants = tuple(
        Contestant(assignment=assignments[i], error=errors[i], time=ratio(rounds[str(i)], rounds[PREPARED]))
        for i in chosen
    )
    preparation = ratio(rounds[PREPARED], rounds[ORIGINAL])
    winner, reason = _judge(contestants, len(assignments), _share(options, rounds), allowed)
    return Contest(contestants=contestants, preparation=preparation, winner=winner, reason=reason)


def _share(options: QuantizationOptions, rounds: Mapping[str, Sequence[Samples]]) -> float | None:
    """Return the time that is allowed as a share of the prepared float network's, None where none is."""
    if options.budgets.share is not None:
        return options.budgets.share
    if options.budgets.seconds is None:
        return None
    usual = float(np.median(Samples.joined(rounds[PREPARED]).latency))
    return options.budgets.seconds / usual


def _judge(
    contestants: Sequence[Contestant], tried: int, share: float | None, allowed: float | None
) -> tuple[Contestant | None, str]:
    if share is not None:
        kept = [item for item in contestants if item.time.value <= share]
        if share >= 1 and not kept:
            return None, "the float network is within the budget, and nothing else is faster"
        if not kept:
            least = min((item.time.value for item in contestants), default=1.0)
            raise RequestError(
                f"latency: expected at most {share:.2f}x of the float network's time, reached {least:.2f}x: allow more "
                "time or error"
            )
        winner = min(kept, key=lambda item: item.error)
        return winner, "the least error within the time that is allowed"
    if not tried:
        return None, "no layer is faster in integers within the error that is allowed"
    if not contestants:
        return None, f"every assignment measured has an error over {allowed:g} once its layers are together"
    best = min(contestants, key=lambda item: item.time.value)
    if best.time.value > WORTH or best.time.high >= 1:
        return None, f"the best in integers takes {best.time} of the float network's time: not worth its error"
    return best, "the least measured time within the error that is allowed"
