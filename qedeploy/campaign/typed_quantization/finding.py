"""The whole way: calibrate, measure every layer's error, assign by BitOps or size, measure the whole, check the file.

Nothing is timed: the device is not here. What a layer takes is its executed BitOps, and what it weighs its bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from qedeploy.campaign.quantization.choices import allowed_precisions
from qedeploy.campaign.quantization.kept import KeptMeasurements
from qedeploy.campaign.quantization.network_quantization import Progress
from qedeploy.campaign.quantization.request import QuantizationOptions, allowed_error
from qedeploy.campaign.quantization.together import fit_errors
from qedeploy.campaign.typed_quantization.measuring import (
    ErrorBed,
    LayerError,
    SetError,
    make_error_bed,
    measure_layer_errors,
    measure_set_error,
)
from qedeploy.errors import RequestError
from qedeploy.export.onnx_networks.data import Sample
from qedeploy.export.onnx_networks.output_error import require_live
from qedeploy.export.onnx_networks.preparation import PreparedModel
from qedeploy.export.typed_networks.checking import TypedCheck, check_typed
from qedeploy.export.typed_networks.layers import BITS, FLOAT16, W8A8
from qedeploy.export.typed_networks.quantizer import TypedQuantizer, make_typed_quantizer
from qedeploy.profiles.profile import Lowering, Profile
from qedeploy.runtimes.typed import TypedGraphs
from qedeploy.search.assign.problem import AssignmentProblem, Choice, LayerChoices, Limits
from qedeploy.search.assign.proof import Proof, prove
from qedeploy.search.assign.solver import Assignment, Objective, assign

_ROUNDS = 5
"""Times that an assignment is made and measured at most: what one finds corrects the next."""

_SHARES = (1.0, 0.5, 0.2)
"""The same problem with these shares of the error that is allowed: errors add up only roughly."""

_METRIC_SHARES = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02)
"""Where a metric decides: shares of the error that all layers together would add."""

_CHECKED_SAMPLES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedCandidate:
    """An assignment, the problem that it is the best of, and what measuring it found."""

    problem: AssignmentProblem
    assignment: Assignment
    measured: SetError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TypedQuantization:
    """What was found. `winner` is None where every layer stays in float16; `reason` says in words why this one won.

    `error` and `drop` are those of the file itself, in float16, whose serialised bytes are `model`; `float16_error` is
    that of float16 throughout. `exact` and `half` are what was checked with float32 and with float16 between integers.
    """

    prepared: PreparedModel
    quantizer: TypedQuantizer
    layers: tuple[LayerError, ...]
    sets: tuple[SetError, ...]
    problem: AssignmentProblem
    winner: TypedCandidate | None
    proof: Proof | None
    reason: str
    error: float
    drop: float | None
    float16_error: float
    exact: TypedCheck
    half: TypedCheck
    model: bytes

    @property
    def precisions(self) -> Mapping[str, str]:
        """Return the precision of every layer."""
        if self.winner is not None:
            return self.winner.assignment.precisions
        return dict.fromkeys(self.quantizer.layers, FLOAT16)


def quantize_typed(
    prepared: PreparedModel,
    samples: Sequence[Sample],
    profile: Profile,
    typed: TypedGraphs,
    options: QuantizationOptions,
    progress: Progress,
    kept: KeptMeasurements,
) -> TypedQuantization:
    """Return `prepared` in the form of a typed runtime, its precisions chosen within the budgets on `samples`.

    The fewest executed BitOps within the error, or where a size or executed BitOps alone are limited the least error.
    Raises UserError for layers in --fix or --keep that there are not; RequestError for a time, which nobody here can
    measure, and where no assignment is within the budgets; PlanError where the file is not as planned.
    """
    if options.budgets.limits_time:
        raise RequestError(
            f"--budget latency: quantize does not time {typed.label}, whose device need not be here: expected error=, "
            "size= or executed-bitops=, and `qedeploy bench` of the result on the device"
        )
    feeds = [sample.feed for sample in samples]
    quantizer = make_typed_quantizer(
        prepared, profile, typed, feeds, options.method, lambda done, total: progress("calibrating", done, total)
    )
    allowed = _allowed(quantizer, profile, options)
    bed = make_error_bed(quantizer, samples, options.metric, kept)
    wanted = [(name, item) for name, items in allowed.items() for item in items if item != FLOAT16]
    layers = measure_layer_errors(
        bed, wanted, lambda done, total: progress("measuring what each layer's rounding costs", done, total)
    )
    candidates = _candidates(bed, profile, allowed, layers, options, progress)
    winner, reason = _judge(list(candidates), options)
    problem = winner.problem if winner is not None else _problem(quantizer, profile, allowed, layers, ())
    written = quantizer.write({} if winner is None else winner.assignment.precisions)
    model = quantizer.in_half(written.model)
    progress("checking the file", 0, 2)
    checks = []
    for half in (False, True):
        checks.append(check_typed(quantizer, written, feeds[:_CHECKED_SAMPLES], half=half))
        progress("checking the file", len(checks), 2)
    error, drop, plain = _of_the_file(bed, written.model, options)
    return TypedQuantization(
        prepared=prepared,
        quantizer=quantizer,
        layers=layers,
        sets=tuple(item.measured for item in candidates),
        problem=problem,
        winner=winner,
        proof=None if winner is None else prove(winner.problem, winner.assignment),
        reason=reason,
        error=error,
        drop=drop,
        float16_error=plain,
        exact=checks[0],
        half=checks[1],
        model=model.SerializeToString(),
    )


def _allowed(quantizer: TypedQuantizer, profile: Profile, options: QuantizationOptions) -> dict[str, tuple[str, ...]]:
    """Return the precisions of each layer; one that must not round its input still has 4-bit weights."""
    offered = {
        name: tuple(item for item in layer.precisions if item != W8A8 or name not in quantizer.refused)
        for name, layer in quantizer.layers.items()
    }
    return allowed_precisions(offered, FLOAT16, options, f"profile {profile.name}", quantizer.refused)


def _candidates(
    bed: ErrorBed,
    profile: Profile,
    allowed: Mapping[str, Sequence[str]],
    layers: Sequence[LayerError],
    options: QuantizationOptions,
    progress: Progress,
) -> tuple[TypedCandidate, ...]:
    """Return assignments with what measuring them found; each round's errors correct the next."""
    found: dict[tuple[tuple[str, str], ...], TypedCandidate] = {}
    for round_number in range(_ROUNDS):
        sets = [item.measured for item in found.values()]
        problem = _problem(bed.quantizer, profile, allowed, layers, sets)
        fresh = {}
        for assignment in _assignments(problem, options):
            rounded = {name: item for name, item in assignment.precisions.items() if item != FLOAT16}
            if rounded and (key := tuple(rounded.items())) not in found:
                fresh[key] = assignment
        for key, assignment in fresh.items():
            measured = measure_set_error(bed, dict(key))
            found[key] = TypedCandidate(problem=problem, assignment=assignment, measured=measured)
        progress("assigning precisions and measuring them", round_number + 1, _ROUNDS)
        if not fresh:
            break
    progress("assigning precisions and measuring them", _ROUNDS, _ROUNDS)
    return tuple(found.values())


def _least_error(options: QuantizationOptions) -> bool:
    """Return whether the error is made least within a size or BitOps, rather than the BitOps within an error."""
    budgets = options.budgets
    return budgets.error is None and (budgets.size is not None or budgets.executed is not None)


def _assignments(problem: AssignmentProblem, options: QuantizationOptions) -> list[Assignment]:
    budgets = options.budgets
    if _least_error(options):
        return [assign(problem, Limits(size=budgets.size, executed=budgets.executed), Objective.ERROR)]
    error = allowed_error(options)
    shares: tuple[float, ...] = _SHARES
    if error is None:
        error = sum(max(choice.error for choice in layer.choices) for layer in problem.layers)
        shares = _METRIC_SHARES
    return [
        assign(
            problem,
            Limits(error=error * share, size=budgets.size, executed=budgets.executed),
            Objective.EXECUTED,
        )
        for share in shares
    ]


def _judge(candidates: Sequence[TypedCandidate], options: QuantizationOptions) -> tuple[TypedCandidate | None, str]:
    allowed = options.budgets.error if _least_error(options) else allowed_error(options)
    kept = [
        item
        for item in candidates
        if (allowed is None or item.measured.error <= allowed)
        and (item.measured.drop is None or item.measured.drop <= options.max_drop)
    ]
    if _least_error(options):
        if candidates and not kept:
            least = min(item.measured.drop or 0.0 for item in candidates)
            raise RequestError(
                f"--max-drop {options.max_drop:g}: within the budgets the metric falls by {least:.3g}: allow more"
            )
        best = min(kept, key=lambda item: item.measured.error, default=None)
        return best, "the least error within the budgets" if best else "every layer in float16 is within the budgets"
    best = min(kept, key=lambda item: (item.assignment.costs.executed, item.measured.error), default=None)
    if best is not None:
        return best, "the fewest executed BitOps within what is allowed"
    if not candidates:
        return None, "no layer saves BitOps within the error that is allowed"
    return None, "every assignment measured was beyond what is allowed once its layers were together"


def _problem(
    quantizer: TypedQuantizer,
    profile: Profile,
    allowed: Mapping[str, Sequence[str]],
    layers: Sequence[LayerError],
    sets: Sequence[SetError],
) -> AssignmentProblem:
    errors = fit_errors({(item.layer, item.precision): item.error for item in layers}, sets)

    def choice(name: str, precision: str) -> Choice:
        layer, bits = quantizer.layers[name], BITS[precision]
        found = profile.precision(layer.layer.category, bits)
        executed = (Lowering.FLOAT16 if found is None else found.lowering).executed(bits)
        return Choice(
            precision=precision,
            error=errors.get((name, precision), 0.0),
            size=layer.size_bytes(precision),
            executed=layer.found.macs * executed.weight * executed.activation,
            nominal=layer.found.macs * bits.weight * bits.activation,
        )

    return AssignmentProblem(
        float_seconds=0.0,
        layers=tuple(
            LayerChoices(name=name, choices=tuple(choice(name, item) for item in items))
            for name, items in allowed.items()
        ),
    )


def _of_the_file(
    bed: ErrorBed, model: onnx.ModelProto, options: QuantizationOptions
) -> tuple[float, float | None, float]:
    """Return error and drop of the file, in float16, and the error of float16 throughout.

    Raises RequestError where the file is beyond what is allowed, or an output is not finite or has become constant.
    """
    outputs = bed.half_outputs(model)
    require_live(bed.names, bed.expected, outputs)
    error, drop = float(np.mean(bed.errors(outputs))), bed.drop(outputs)
    plain = float(np.mean(bed.errors(bed.half_outputs(bed.quantizer.model))))
    allowed = allowed_error(options)
    if allowed is not None and not _least_error(options) and error > allowed:
        raise RequestError(
            f"the file's error is {error:.2g}, float16 alone has {plain:.2g}: expected {allowed:.2g}; allow more error"
        )
    if drop is not None and drop > options.max_drop:
        raise RequestError(f"the metric falls by {drop:.3g} in float16, {options.max_drop:g} is allowed: allow more")
    return error, drop, plain
