"""Score settings as a person types them."""

from __future__ import annotations

import math

from qedeploy.errors import UserError
from qedeploy.search.score.kinds.deepmad import DeepMad
from qedeploy.search.score.kinds.qe_score import QeScore


def score_settings(
    *,
    sigma_weight: float,
    sigma_activation: float,
    stage_ratios: str,
    kind: str = QeScore.name,
    alpha1: float = 1.0,
    alpha2: float = 1.0,
) -> QeScore:
    """Return the settings; raises UserError naming the option for what is not positive or not a list of numbers."""
    for option, sigma in (("--sigma-weight", sigma_weight), ("--sigma-activation", sigma_activation)):
        if not (math.isfinite(sigma) and sigma > 0):
            raise UserError(f"{option}: expected a positive number of quantization steps, found {sigma}")
    for option, alpha in (("--alpha1", alpha1), ("--alpha2", alpha2)):
        if not (math.isfinite(alpha) and alpha > 0):
            raise UserError(f"{option}: expected a positive number, found {alpha}")
    chosen = DeepMad if kind == DeepMad.name else QeScore
    return chosen(
        sigma_weight=sigma_weight,
        sigma_activation=sigma_activation,
        stage_ratios=_ratios(stage_ratios),
        alpha1=alpha1,
        alpha2=alpha2,
    )


def _ratios(text: str) -> tuple[float, ...]:
    try:
        ratios = tuple(float(part) for part in text.split(","))
    except ValueError:
        ratios = ()
    if not ratios or not all(math.isfinite(ratio) and ratio >= 0 for ratio in ratios):
        raise UserError(f"--stage-ratios: expected numbers of 0 or more with commas, such as 0,0,1,1,6, found {text!r}")
    return ratios
