"""The whole way of `quantize`: calibrate, measure every layer, assign, measure the best once more, keep the winner."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from qedeploy.campaign.quantization.choices import allowed_precisions
from qedeploy.campaign.quantization.contest import Candidate, Contest, hold_contest, within
from qedeploy.campaign.quantization.estimates import Estimates
from qedeploy.campaign.quantization.front import front
from qedeploy.campaign.quantization.improvement import Improvement, improved_quantizer
from qedeploy.campaign.quantization.kept import KeptMeasurements
from qedeploy.campaign.quantization.measurement import (
    Bed,
    LayerMeasurement,
    SetMeasurement,
    make_bed,
    measure_float,
    measure_layers,
    measure_sets,
)
from qedeploy.campaign.quantization.neighbours import Savings, find_conversions
from qedeploy.campaign.quantization.request import QuantizationOptions
from qedeploy.export.onnx_networks.data import Sample
from qedeploy.export.onnx_networks.fused import PlanCheck, require_planned
from qedeploy.export.onnx_networks.output_error import require_live
from qedeploy.export.onnx_networks.preparation import PreparedModel
from qedeploy.export.onnx_networks.quantizer import Quantizer
from qedeploy.runtimes.mixed import MixedExecution
from qedeploy.runtimes.registry import reference
from qedeploy.search.assign.problem import FLOAT, AssignmentProblem
from qedeploy.search.assign.proof import Proof, prove
from qedeploy.search.assign.solver import Assignment

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""

_ROUNDS = 8
"""Times that assignments are made and measured at most: what one finds corrects the next."""

_PATIENCE = 2
"""Rounds in a row without a faster assignment after which no more are made: one may only correct an estimate."""

_CHECKED_SAMPLES = 2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Quantization:
    """What was found. `assignment` is None where float32 throughout won; `model` are the bytes of the winner's file."""

    prepared: PreparedModel
    quantizer: Quantizer
    improvement: Improvement | None
    precisions: tuple[str, ...]
    float_seconds: float
    layers: tuple[LayerMeasurement, ...]
    sets: tuple[SetMeasurement, ...]
    savings: Savings
    problem: AssignmentProblem
    contest: Contest
    assignment: Assignment | None
    proof: Proof | None
    check: PlanCheck | None
    model: bytes


def quantize_network(
    prepared: PreparedModel,
    samples: Sequence[Sample],
    execution: MixedExecution,
    options: QuantizationOptions,
    progress: Progress,
    kept: KeptMeasurements,
) -> Quantization:
    """Return the fastest form of `prepared` within the budgets, by measurement on `samples`, as far as none are `kept`.

    Raises UserError for layers in --fix or --keep that there are not; RequestError where no assignment is within the
    budgets, or an output would be constant.
    """
    feeds = [sample.feed for sample in samples]
    precisions = execution.precisions()
    quantizer, improvement = improved_quantizer(
        prepared.model, feeds, options.method, precisions, lambda done, total: progress("calibrating", done, total)
    )
    offered = {name: () if name in quantizer.refused else precisions for name in quantizer.layers}
    allowed = allowed_precisions(offered, FLOAT, options, "this machine", quantizer.refused)
    bed = make_bed(quantizer, execution, samples, options, kept)
    wanted = [(name, item) for name, choices in allowed.items() for item in choices if item != FLOAT]
    float_seconds = measure_float(bed)
    layers = measure_layers(bed, wanted, lambda done, total: progress("measuring each layer in integers", done, total))
    estimates = Estimates(
        quantizer=quantizer,
        allowed=allowed,
        layers=layers,
        conversions=find_conversions(quantizer),
        float_seconds=float_seconds,
    )
    sets = measure_sets(
        bed,
        _training_sets(layers),
        float_seconds,
        lambda done, total: progress("measuring layers beside each other", done, total),
    )
    candidates: dict[tuple[str, ...], Candidate] = {}
    best, fruitless = math.inf, 0
    for round_number in range(_ROUNDS):
        problem = estimates.problem(sets)
        assignments = [item for item in front(problem, options) if item.quantized not in candidates]
        measured = measure_sets(bed, [_quantized(item) for item in assignments], float_seconds)
        sets = (*sets, *measured)
        for assignment, found in zip(assignments, measured, strict=True):
            candidates[assignment.quantized] = Candidate(problem=problem, assignment=assignment, measured=found)
        progress("assigning precisions and measuring them", round_number + 1, _ROUNDS)
        allowed_seconds = (item.measured.seconds for item in candidates.values() if within(item, options))
        fastest = min(allowed_seconds, default=math.inf)
        fruitless = fruitless + 1 if math.isfinite(best) and fastest >= best else 0
        if not assignments or fruitless == _PATIENCE:
            break
        best = fastest
    contest = hold_contest(
        bed,
        prepared,
        list(candidates.values()),
        options,
        lambda assignment: estimates.predicted(assignment.precisions, sets),
        lambda done, total: progress("measuring the best once more", done, total),
    )
    winner = contest.winner
    chosen = winner.assignment if winner is not None else None
    model, check, proof = prepared.model, None, None
    if winner is not None:
        problem = winner.problem
        written = quantizer.write(winner.assignment.precisions)
        planned = [quantizer.layers[name] for name in winner.assignment.quantized]
        check = require_planned(written, planned, feeds[:_CHECKED_SAMPLES], execution)
        model, proof = written.model, prove(problem, winner.assignment)
        _require_live_outputs(bed, prepared, model.SerializeToString())
    return Quantization(
        prepared=prepared,
        quantizer=quantizer,
        improvement=improvement,
        precisions=precisions,
        float_seconds=float_seconds,
        layers=layers,
        sets=sets,
        savings=estimates.fit(sets),
        problem=problem,
        contest=contest,
        assignment=chosen,
        proof=proof,
        check=check,
        model=model.SerializeToString(),
    )


def _training_sets(layers: Sequence[LayerMeasurement]) -> list[dict[str, str]]:
    """Return sets to fit the savings to: all layers, the faster half, and halves of the network."""
    keys = [(item.layer, item.precision) for item in sorted(layers, key=lambda item: item.seconds)]
    in_order = [(item.layer, item.precision) for item in layers]
    half = len(in_order) // 2
    sets = [in_order, keys[: max(1, half)], in_order[:half], in_order[half:]]
    unique = {tuple(sorted(item)): item for item in sets if len(item) > 1}
    return [dict(item) for item in unique.values()]


def _quantized(assignment: Assignment) -> dict[str, str]:
    return {name: assignment.precisions[name] for name in assignment.quantized}


def _require_live_outputs(bed: Bed, prepared: PreparedModel, model: bytes) -> None:
    runs = []
    for content in (prepared.model.SerializeToString(), model):
        evaluate = reference().evaluator(content, True)
        runs.append([list(evaluate(feed).values()) for feed in bed.feeds])
    require_live(bed.outputs, *runs)
