"""From a trained checkpoint and pictures to the same network with other widths, ready to be trained on or exported."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from qedeploy.campaign.quantization.request import kept_layers
from qedeploy.campaign.widths.choices import offered_pairs, own_costs, width_problem
from qedeploy.campaign.widths.documents import WrittenWidths, write_widths
from qedeploy.campaign.widths.finding import FoundWidths
from qedeploy.campaign.widths.pictures import Judged, WidthPictures, open_pictures
from qedeploy.campaign.widths.request import FIGURES, WidthBudget, WidthRequest
from qedeploy.errors import RequestError, UserError
from qedeploy.latency.predictor import LatencyModel
from qedeploy.latency.store import load_model
from qedeploy.model.build import build
from qedeploy.model.checkpoint import Checkpoint, load_checkpoint
from qedeploy.model.image_settings import ImageSettings
from qedeploy.model.network import QuantizedNetwork
from qedeploy.network.layers import expand_layers
from qedeploy.network.structure import Bits
from qedeploy.profiles.loader import load_profile
from qedeploy.profiles.profile import Profile
from qedeploy.search.assign.problem import AssignmentProblem, Limits
from qedeploy.search.assign.proof import prove
from qedeploy.search.assign.solver import Assignment, Objective, assign
from qedeploy.train.accuracy import Share
from qedeploy.train.quantization import choose_steps, estimate_statistics, round_as_device
from qedeploy.train.sensitivity import width_errors
from qedeploy.train.weights import is_trained, retargeted, transfer, with_bits
from qedeploy.units import Quantity, format_bytes, format_count, format_duration

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""

_TRIALS = 10
"""Assignments that are judged at most to find the cheapest within a drop."""

_BATCH = 32

_SHOWN: dict[Quantity, Callable[[float], str]] = {
    Quantity.BYTES: format_bytes,
    Quantity.COUNT: format_count,
    Quantity.DURATION: format_duration,
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FinishedWidths:
    """What was found, and its files where a folder was named."""

    found: FoundWidths
    written: WrittenWidths | None


def assign_widths(request: WidthRequest, folder: Path | None, progress: Progress) -> FinishedWidths:
    """Return widths for every layer within the budgets of `request`, written into `folder` where that is not None.

    Where costs are limited the loss that pictures predict is made least, else the BitOps, or the bytes where all pairs
    cost the same BitOps, within the error or the drop of top-1. Raises UserError for what cannot be read or asked,
    RequestError where nothing is within the budgets.
    """
    if not request.budgets and request.max_drop is None:
        raise UserError("quantize: expected a limit for a checkpoint, such as --budget size=300KB or --max-drop 0.5")
    if folder is not None and folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: expected a folder to write to, found a file: choose another --out")
    checkpoint = load_checkpoint(request.checkpoint)
    if not is_trained(checkpoint.network):
        raise UserError(f"{request.checkpoint}: was never trained, so pictures say nothing of its layers: "
                        f"qedeploy train {request.checkpoint} --data {request.data}")  # fmt: skip
    profile = load_profile(request.profile or checkpoint.profile)
    latency = _latency(request, profile)
    structure = checkpoint.structure
    base = retargeted(checkpoint.network, profile)
    names = [layer.name for layer in expand_layers(structure)]
    pairs = offered_pairs(base.structure, profile, request.fixed, kept_layers(request.kept, names))
    settings = checkpoint.images or request.settings or ImageSettings()
    pictures = open_pictures(
        request.data, structure, settings, request.samples, labels=request.max_drop is not None, seed=request.seed
    )
    round_as_device(base, profile)
    errors = width_errors(
        base,
        pictures.images,
        pairs,
        unsigned_activation_bits=profile.unsigned_activation_bits,
        seed=request.seed,
        progress=lambda done, total: progress("measuring what widths cost", done, total),
    )
    problem = width_problem(structure, profile, pairs, errors, latency)
    maker = _Maker(network=base, profile=profile, pictures=pictures, progress=progress)
    before = maker.top1(checkpoint.network)
    limits = _limits(request.budgets, own_costs(base.structure, profile, latency))
    _require_within_reach(request.budgets, problem, limits)
    minimised = _objective(request, problem)
    if minimised is Objective.ERROR or request.max_drop is None:
        assignment = assign(problem, limits, minimised)
        network, after = maker.make(assignment)
        _require_drop(request, before, after)
    else:
        assignment, network, after = _cheapest(problem, limits, minimised, maker, before, request.max_drop)
    found = FoundWidths(
        checkpoint=Checkpoint(
            network=network,
            profile=request.profile or checkpoint.profile,
            recipe=checkpoint.recipe,
            images=checkpoint.images,
        ),
        profile=profile,
        before_structure=structure,
        pairs=pairs,
        errors=errors,
        samples=len(pictures.images),
        problem=problem,
        assignment=assignment,
        proof=prove(problem, assignment),
        before=before,
        after=after,
        apart=pictures.judged is not None and pictures.judged.apart,
        timed=latency is not None,
    )
    written = None if folder is None else write_widths(found, request, folder)
    return FinishedWidths(found=found, written=written)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Maker:
    """Makes networks of assignments and judges them."""

    network: QuantizedNetwork
    profile: Profile
    pictures: WidthPictures
    progress: Progress

    def make(self, assignment: Assignment) -> tuple[QuantizedNetwork, Share | None]:
        """Return the network of the widths, its steps chosen and its statistics estimated anew, and its top-1."""
        pairs = {name: _bits(text) for name, text in assignment.precisions.items()}
        made = build(
            with_bits(self.network.structure, pairs),
            unsigned_activation_bits=self.profile.unsigned_activation_bits,
            seed=0,
        )
        transfer(self.network, made)
        round_as_device(made, self.profile)
        made.eval()
        choose_steps(made, self.pictures.images, keep_trained=True)
        with torch.no_grad():
            estimate_statistics(made, torch.split(self.pictures.images, _BATCH))
        return made, self.top1(made)

    def top1(self, network: QuantizedNetwork) -> Share | None:
        judged: Judged | None = self.pictures.judged
        if judged is None:
            return None
        return judged.top1(network, lambda done, total: self.progress("counting right answers", done, total))


def _bits(text: str) -> Bits:
    weight, _, activation = text.removeprefix("W").partition("A")
    return Bits(weight=int(weight), activation=int(activation))


def _latency(request: WidthRequest, profile: Profile) -> LatencyModel | None:
    limited = any(budget.name == "latency" for budget in request.budgets)
    if not limited and request.latency_table is None:
        return None
    found = load_model(profile, request.latency_table)
    if found is None:
        raise RequestError(
            f"latency: {profile.name} has no latency table to predict it from: `qedeploy measure --profile "
            f"{profile.name}` makes one, --latency-table FILE names one"
        )
    return found[0]


def _limits(budgets: tuple[WidthBudget, ...], own: Mapping[str, float]) -> Limits:
    """Return the limits of `budgets`; shares are of what the network costs with the widths that it has, `own`."""
    return Limits(
        **{budget.figure: budget.limit * (own[budget.figure] if budget.relative else 1.0) for budget in budgets}
    )


def _require_within_reach(budgets: tuple[WidthBudget, ...], problem: AssignmentProblem, limits: Limits) -> None:
    for budget in budgets:
        least = sum(min(getattr(choice, budget.figure) for choice in layer.choices) for layer in problem.layers)
        if least > limits.given[budget.figure]:
            show = _SHOWN[FIGURES[budget.name][1]]
            raise RequestError(
                f"--budget {budget.name}: expected at most {show(limits.given[budget.figure])}, the widths that there "
                f"are reach {show(least)} at the least: allow more, or release layers that --fix and --keep hold"
            )


def _objective(request: WidthRequest, problem: AssignmentProblem) -> Objective:
    costs = [budget for budget in request.budgets if budget.name != "error"]
    if costs:
        return Objective.ERROR
    differ = any(len({choice.nominal for choice in layer.choices}) > 1 for layer in problem.layers)
    return Objective.NOMINAL if differ else Objective.SIZE


def _require_drop(request: WidthRequest, before: Share | None, after: Share | None) -> None:
    if request.max_drop is None or before is None or after is None:
        return
    drop = 100 * (before.value - after.value)
    if drop > request.max_drop:
        limited = ", ".join(budget.name for budget in request.budgets)
        raise RequestError(
            f"--max-drop {request.max_drop:g}: top-1 falls by {drop:.2f} % of {after.count} pictures within the "
            f"{limited} asked for: allow more of either, or leave --max-drop out and recover by qedeploy train"
        )


def _cheapest(
    problem: AssignmentProblem,
    limits: Limits,
    minimised: Objective,
    maker: _Maker,
    before: Share | None,
    max_drop: float,
) -> tuple[Assignment, QuantizedNetwork, Share | None]:
    """Return the cheapest assignment whose top-1 was counted within the drop, by halving the predicted error."""
    low = sum(min(choice.error for choice in layer.choices) for layer in problem.layers)
    high = sum(max(choice.error for choice in layer.choices) for layer in problem.layers)
    high = min(high, limits.error) if limits.error is not None else high
    best: tuple[Assignment, QuantizedNetwork, Share | None] | None = None
    least_drop = math.inf
    judged: dict[tuple[str, ...], bool] = {}
    smallest, largest = max(low, high * 1e-6, 1e-12), max(high, 1e-12)
    tried = largest
    for _ in range(_TRIALS):
        assignment = assign(problem, Limits(error=max(tried, low)), minimised)
        key = tuple(assignment.precisions.values())
        if key not in judged:
            network, after = maker.make(assignment)
            drop = 0.0 if before is None or after is None else 100 * (before.value - after.value)
            least_drop = min(least_drop, drop)
            judged[key] = drop <= max_drop
            if judged[key] and (best is None or _value(assignment, minimised) < _value(best[0], minimised)):
                best = (assignment, network, after)
        if judged[key]:
            smallest = tried
            if tried >= largest:
                break
        else:
            largest = tried
        tried = math.sqrt(smallest * largest)
    if best is None:
        raise RequestError(
            f"--max-drop {max_drop:g}: the least that top-1 falls by without training is {least_drop:.2f} %: allow "
            "more, or give a budget of size or BitOps and recover by qedeploy train"
        )
    return best


def _value(assignment: Assignment, minimised: Objective) -> float:
    return float(getattr(assignment.costs, minimised.value))
