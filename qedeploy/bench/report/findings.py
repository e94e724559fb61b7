"""What a profiled pass means, in sentences: where the time went, and how well estimates foretell it."""

from __future__ import annotations

from collections.abc import Sequence

from qedeploy.bench.attribution.correlation import Correlation
from qedeploy.bench.report.document import LayerRow, ProfiledPass, layers_among
from qedeploy.runtimes.node_names import Overhead
from qedeploy.words import counted, listed


def profile_findings(profiled: ProfiledPass) -> tuple[str, ...]:
    """Return where the time went."""
    rows = profiled.layers
    untimed = len(profiled.untimed)
    own = [part for part in profiled.overheads if part.name != Overhead.INTERRUPTED]
    usual = profiled.layer_seconds + sum(part.seconds for part in own)
    largest = max(own, key=lambda part: part.seconds, default=None)
    found = []
    if largest is not None and usual > 0 and largest.seconds > 0:
        found.append(
            f"{1 - profiled.layer_seconds / usual:.0%} of the usual time is spent outside the layers, "
            f"most of it on {largest.name} ({largest.seconds / usual:.0%})."
        )
    if profiled.untimed and any(row.kind for row in rows):
        found.append(
            f"{counted(untimed, 'layer')} of {layers_among(rows)} "
            f"{'has' if untimed == 1 else 'have'} no time of {'its' if untimed == 1 else 'their'} own "
            f"({listed(profiled.untimed)}): correlations and rates leave {'it' if untimed == 1 else 'them'} out."
        )
    rates = {kind: rate for kind in ("pointwise", "depthwise") if (rate := _rate_of(rows, kind))}
    if len(rates) == 2:
        times = rates["pointwise"] / rates["depthwise"]
        found.append(
            f"Depthwise layers run at {rates['depthwise'] / 1e9:,.0f} executed GBitOps/s, pointwise ones at "
            f"{rates['pointwise'] / 1e9:,.0f}: {times:.1f} times the rate, which no count of BitOps shows."
        )
    return tuple(found)


def correlation_sentences(correlations: Sequence[Correlation]) -> tuple[str, ...]:
    """Return how well each estimate orders the layers' times, for who asks for details."""
    return tuple(
        f"{correlation.estimate} order the times of {correlation.layers} layers with Kendall's tau "
        f"{correlation.kendall:.2f} and Spearman's rho {correlation.spearman:.2f} (1 would be perfect)."
        for correlation in correlations
        if correlation.kendall is not None and correlation.spearman is not None
    )


def _rate_of(rows: Sequence[LayerRow], kind: str) -> float:
    chosen = [row for row in rows if row.kind == kind and row.executed_bitops is not None and row.seconds is not None]
    seconds = sum(row.seconds or 0.0 for row in chosen)
    return sum(row.executed_bitops or 0.0 for row in chosen) / seconds if seconds > 0 else 0.0
