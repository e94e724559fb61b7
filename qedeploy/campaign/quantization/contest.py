"""The last measurement: the best assignments against the float network, in turn, in files as they will be used."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from qedeploy.bench.measure.interleave import ROUNDS, Ratio, interleave, ratio
from qedeploy.campaign.quantization.measurement import Bed, SetMeasurement
from qedeploy.campaign.quantization.request import QuantizationOptions, allowed_error
from qedeploy.errors import RequestError
from qedeploy.export.onnx_networks.preparation import PreparedModel
from qedeploy.runtimes.timing import Samples, TimingProtocol
from qedeploy.search.assign.problem import AssignmentProblem
from qedeploy.search.assign.solver import Assignment

ORIGINAL, PREPARED = "original", "prepared"
CONTESTANTS = 3
WORTH = 0.98
"""Share of the float network's time under which integers are worth their error."""

_LONGER = 5
"""How many times as long as one trial each is run in all rounds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An assignment, the problem that it is the best of, and what measuring it found so far."""

    problem: AssignmentProblem
    assignment: Assignment
    measured: SetMeasurement


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """An assignment as it was measured on the data: its `error` and, with a metric, how far that dropped.

    `time` is a ratio to the prepared float network's, `over_original` one to the file as it was given; `predicted` is
    that time's share by all other measurements.
    """

    problem: AssignmentProblem
    assignment: Assignment
    error: float
    drop: float | None
    predicted: float
    time: Ratio
    over_original: Ratio


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """All that was measured. `preparation` is the prepared float network's time over the original file's.

    `winner` is None where the float network stays; `reason` says why in a sentence.
    """

    contestants: tuple[Contestant, ...]
    preparation: Ratio
    winner: Contestant | None
    reason: str


def within(candidate: Candidate, options: QuantizationOptions) -> bool:
    """Return whether the measured error of `candidate` is one that is allowed."""
    allowed = allowed_error(options)
    if candidate.measured.drop is not None and candidate.measured.drop > options.max_drop:
        return False
    return allowed is None or candidate.measured.error <= allowed


def hold_contest(
    bed: Bed,
    prepared: PreparedModel,
    candidates: Sequence[Candidate],
    options: QuantizationOptions,
    predict: Callable[[Assignment], float],
    progress: Callable[[int, int], None],
) -> Contest:
    """Return how `candidates` do against the float network, whose times as shares of its time `predict` predicts.

    Raises RequestError where a time was asked for and none of them keeps it.
    """
    allowed = allowed_error(options)
    chosen = sorted((item for item in candidates if within(item, options)), key=lambda item: item.measured.seconds)[
        :CONTESTANTS
    ]
    models = {ORIGINAL: prepared.original, PREPARED: prepared.model} | {
        str(index): bed.quantizer.write(item.assignment.precisions).model for index, item in enumerate(chosen)
    }
    sessions = {
        name: bed.execution.timed(model.SerializeToString(), bed.feeds[0], options.threads)
        for name, model in models.items()
    }
    rounds = interleave(
        sessions, TimingProtocol(duration=_LONGER * options.duration), progress=lambda done: progress(done, ROUNDS)
    )
    contestants = tuple(
        Contestant(
            problem=item.problem,
            assignment=item.assignment,
            error=item.measured.error,
            drop=item.measured.drop,
            predicted=predict(item.assignment),
            time=ratio(rounds[str(index)], rounds[PREPARED]),
            over_original=ratio(rounds[str(index)], rounds[ORIGINAL]),
        )
        for index, item in enumerate(chosen)
    )
    preparation = ratio(rounds[PREPARED], rounds[ORIGINAL])
    winner, reason = _judge(contestants, len(candidates), _share(options, rounds), allowed)
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
        limit = "drops the metric too far" if allowed is None else f"has an error over {allowed:g}"
        return None, f"every assignment measured {limit} once its layers are together"
    best = min(contestants, key=lambda item: item.time.value)
    if best.time.value > WORTH or best.time.high >= 1:
        return None, f"the best in integers takes {best.time} of the float network's time: not worth its error"
    return best, "the least measured time within the error that is allowed"
