"""What a user asks of `quantize`: budgets, and layers whose precision is known better."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from qedeploy.campaign.quantization.metric import Metric
from qedeploy.errors import UserError
from qedeploy.export.onnx_networks.methods import CalibrationMethod
from qedeploy.search.assign.problem import FLOAT
from qedeploy.units import Quantity, parse_quantity

DEFAULT_ERROR = 0.02
"""Error of the outputs that is allowed where no budget says otherwise: noise of a fiftieth of the signal's power."""

_SHARE = re.compile(r"(\d+(?:\.\d*)?|\.\d+)x")


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizationBudgets:
    """Limits: `seconds` of a query, or `share` of the float network's time; `error` of the outputs; `size` in bytes.

    `executed` are BitOps in the widths that the runtime computes in.
    """

    seconds: float | None = None
    share: float | None = None
    error: float | None = None
    size: float | None = None
    executed: float | None = None

    @property
    def limits_time(self) -> bool:
        """Whether a time is given: the error is made least then, else the time."""
        return self.seconds is not None or self.share is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizationOptions:
    """How to quantize. `fixed` gives layers their precision, `kept` are expressions of layers that stay in float32.

    `metric`, where there is one, may drop by `max_drop` in its own unit; without a budget of error it alone decides.
    `duration` is how long each model is run at least (seconds), `samples` how many of the data are used at most.
    """

    budgets: QuantizationBudgets = QuantizationBudgets()
    method: CalibrationMethod = CalibrationMethod.MSE
    fixed: Mapping[str, str] = field(default_factory=dict)
    kept: tuple[str, ...] = ()
    metric: Metric | None = None
    max_drop: float = 0.0
    samples: int = 16
    duration: float = 0.3
    threads: int = 1


def allowed_error(options: QuantizationOptions) -> float | None:
    """Return the error that is allowed, None where a metric or a time decides."""
    if options.budgets.error is not None:
        return options.budgets.error
    return None if options.budgets.limits_time or options.metric is not None else DEFAULT_ERROR


def parse_budgets(texts: Sequence[str]) -> QuantizationBudgets:
    """Return the budgets of texts such as `latency=0.8x`, `latency=4ms`, `error=0.01` and `size=2.2MB`.

    Raises UserError naming a budget that is not of these, is given twice or has no positive limit.
    """
    found: dict[str, float] = {}
    for text in texts:
        kind, separator, limit = text.partition("=")
        if not separator or kind not in _QUANTITIES:
            raise UserError(
                f"--budget {text!r}: expected latency=0.8x, latency=4ms, error=0.01, size=2.2MB or executed-bitops=2G"
            )
        share = _SHARE.fullmatch(limit.strip()) if kind == "latency" else None
        field_name = "share" if share else _FIELDS.get(kind, kind)
        if field_name in found or (kind == "latency" and {"share", "seconds"} & found.keys()):
            raise UserError(f"--budget {text!r}: {kind} is given twice: expected one limit for each")
        found[field_name] = float(share[1]) if share else parse_quantity(limit.strip(), _QUANTITIES[kind])
        if found[field_name] <= 0:
            raise UserError(f"--budget {text!r}: expected a positive limit")
    return QuantizationBudgets(**found)


def parse_fixed(texts: Sequence[str]) -> dict[str, str]:
    """Return layer and precision of `--fix layer=precision` texts; raises UserError for others."""
    found = {}
    for text in texts:
        name, separator, precision = text.rpartition("=")
        if not separator or not name or not precision:
            raise UserError(f"--fix {text!r}: expected LAYER=PRECISION, such as conv1={FLOAT}")
        found[name] = precision
    return found


def kept_layers(expressions: Sequence[str], names: Sequence[str]) -> set[str]:
    """Return those of `names` that an expression matches; raises UserError for one that is none or matches nothing."""
    kept: set[str] = set()
    for expression in expressions:
        try:
            matching = {name for name in names if re.search(expression, name)}
        except re.error as error:
            raise UserError(f"--keep {expression!r}: not a regular expression ({error})") from error
        if not matching:
            raise UserError(f"--keep {expression!r}: matches no layer: expected part of a name that `bench` lists")
        kept |= matching
    return kept


_QUANTITIES = {
    "latency": Quantity.DURATION,
    "error": Quantity.COUNT,
    "size": Quantity.BYTES,
    "executed-bitops": Quantity.COUNT,
}
_FIELDS = {"latency": "seconds", "executed-bitops": "executed"}
