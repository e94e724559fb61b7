"""What a user asks of `quantize` for a checkpoint: limits, absolute or relative to the network as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from qedeploy.errors import UserError
from qedeploy.model.image_settings import ImageSettings
from qedeploy.units import Quantity, parse_quantity

FIGURES = {
    "latency": ("seconds", Quantity.DURATION),
    "size": ("size", Quantity.BYTES),
    "bitops": ("nominal", Quantity.COUNT),
    "executed-bitops": ("executed", Quantity.COUNT),
    "error": ("error", Quantity.COUNT),
}
"""What a budget is called on the command line: the figure of the assignment problem, and its unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WidthBudget:
    """A limit of one figure: a value, or with `relative` a share of what the network as it is costs."""

    name: str
    limit: float
    relative: bool = False

    @property
    def figure(self) -> str:
        """The figure of the assignment problem that is limited."""
        return FIGURES[self.name][0]


@dataclass(frozen=True, slots=True, kw_only=True)
class WidthRequest:
    """What to assign widths to, for what device, on what pictures.

    `profile` is the checkpoint's own where it is None. `max_drop` is what top-1 may lose, in per cent, before any
    training; the pictures need labels then. `fixed` gives layers their pair, `kept` are expressions of layers that
    keep theirs. `samples` pictures tell what widths cost. `settings` are those of the pictures where the checkpoint
    has none.
    """

    checkpoint: Path
    data: Path
    profile: str | None = None
    budgets: tuple[WidthBudget, ...] = ()
    max_drop: float | None = None
    fixed: dict[str, str] = field(default_factory=dict)
    kept: tuple[str, ...] = ()
    samples: int = 128
    settings: ImageSettings | None = None
    latency_table: Path | None = None
    seed: int = 0


def parse_width_budgets(texts: Sequence[str]) -> tuple[WidthBudget, ...]:
    """Return the budgets of texts such as `size=300KB`, `bitops=0.5x` and `latency=4ms`.

    Raises UserError naming a budget that is not of these, is given twice or has no positive limit.
    """
    found: dict[str, WidthBudget] = {}
    for text in texts:
        name, separator, limit = text.partition("=")
        if not separator or name not in FIGURES:
            raise UserError(f"--budget {text!r}: expected size=300KB, bitops=0.5x, executed-bitops=2G, latency=4ms or "
                            "error=0.01 for a checkpoint")  # fmt: skip
        if name in found:
            raise UserError(f"--budget {text!r}: {name} is given twice: expected one limit for each")
        relative = limit.strip().endswith("x") and name != "error"
        value = _share(text, limit.strip()[:-1]) if relative else parse_quantity(limit.strip(), FIGURES[name][1])
        if not value > 0:
            raise UserError(f"--budget {text!r}: expected a positive limit")
        found[name] = WidthBudget(name=name, limit=value, relative=relative)
    return tuple(found.values())


def _share(text: str, number: str) -> float:
    try:
        return float(number)
    except ValueError as error:
        raise UserError(f"--budget {text!r}: expected a share such as 0.5x") from error
