"""How much a lowering changes the trained network's logits, for each kind of change alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from qedeploy.export.comparison import top1_agreement
from qedeploy.qdq import simulation
from qedeploy.qdq.lowered import LoweredNetwork


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One kind of change in `places` places, against the training forward.

    `logit_change` is the root mean square of the change over that of the logits around their mean of each image;
    `top1_agreement` is a share of the `images`.
    """

    name: str
    places: int
    logit_change: float
    top1_agreement: float
    images: int


def measure_effects(
    network: LoweredNetwork, images: Tensor, trained: Tensor, lowered: Tensor, *, device_grids: bool = False
) -> tuple[Effect, ...]:
    """Return what the plan of `network` changes on `images`.

    `trained`: logits of the training forward with the same steps; `lowered`: of the whole plan, (batch, classes).
    `device_grids` says that training rounded where the device does: only folding is left to change anything then.
    """
    plan = network.plan
    if device_grids:
        return (_effect("folding into integer weights and biases", len(plan.layers), lowered, trained),)
    points = tuple(point.name for point in plan.points)
    effects = [_effect("everything together", len(points) + len(plan.quantized_shortcuts), lowered, trained)]
    folded = simulation.logits(network, images, without=points, raw_shortcuts=True)
    effects.append(_effect("folding into integer weights and biases", len(plan.layers), folded, trained))
    if points:
        found = simulation.logits(network, images, raw_shortcuts=True)
        bits = "/".join(str(width) for width in sorted({point.grid.bits for point in plan.points}))
        effects.append(_effect(f"extra {bits}-bit quantization points", len(points), found, folded))
    if plan.quantized_shortcuts:
        found = simulation.logits(network, images, without=points)
        effects.append(_effect("shortcuts read on the next layer's grid", len(plan.quantized_shortcuts), found, folded))
    return tuple(effects)


def _effect(name: str, places: int, changed: Tensor, base: Tensor) -> Effect:
    centred = base - base.mean(dim=1, keepdim=True)
    spread = float(centred.square().mean().sqrt())
    change = float((changed - base).square().mean().sqrt())
    return Effect(
        name=name,
        places=places,
        logit_change=change / spread if spread else change,
        top1_agreement=top1_agreement(changed.to(torch.float64), base.to(torch.float64)),
        images=len(base),
    )
