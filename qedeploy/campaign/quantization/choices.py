"""The precisions that each layer may have: what its runtime offers, less what --fix and --keep say of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qedeploy.campaign.quantization.request import QuantizationOptions, kept_layers
from qedeploy.errors import RequestError, UserError


def allowed_precisions(
    offered: Mapping[str, Sequence[str]],
    base: str,
    options: QuantizationOptions,
    computes: str,
    refused: Mapping[str, str],
) -> dict[str, tuple[str, ...]]:
    """Return the precisions of each layer: `base` and those `offered` beside it, the fixed one, or `base` where kept.

    `computes` is who offers them, for messages; `refused` says of layers why something is not offered. Raises UserError
    for layers that there are not, RequestError for a precision that a fixed layer cannot have.
    """
    unknown = [name for name in options.fixed if name not in offered]
    if unknown:
        raise UserError(f"--fix {unknown[0]}=...: no such layer that could be in integers: `bench` lists the layers")
    kept = kept_layers(options.kept, list(offered))
    every = list(dict.fromkeys([base, *(item for items in offered.values() for item in items)]))
    for name, precision in options.fixed.items():
        if precision != base and name in kept:
            raise RequestError(f"--fix {name}={precision}: --keep holds it in {base}")
        if precision in (base, *offered[name]):
            continue
        if precision in every:
            why = refused.get(name) or f"it can be in {', '.join((base, *offered[name]))}"
            raise RequestError(f"--fix {name}={precision}: {why}")
        raise RequestError(
            f"--fix {name}={precision}: {computes} computes layers in {', '.join(every)}: expected one of these"
        )
    return {
        name: (options.fixed[name],) if name in options.fixed else (base,) if name in kept else (base, *items)
        for name, items in offered.items()
    }
