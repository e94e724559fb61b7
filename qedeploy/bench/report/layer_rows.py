"""A report's layers: time, estimates, lowering and the time model's value side by side, and what explains the times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from qedeploy.bench.attribution.attribution import Attribution, LayerPart
from qedeploy.bench.attribution.correlation import Correlation, TimeModel, correlate, fit_time_model
from qedeploy.bench.attribution.estimates import LayerEstimate
from qedeploy.bench.report.document import LayerRow

if TYPE_CHECKING:
    from qedeploy.qdq.metadata import ModelMetadata


def layer_rows(
    attribution: Attribution,
    estimates: Sequence[LayerEstimate],
    metadata: ModelMetadata | None,
    time_model: TimeModel | None,
) -> tuple[LayerRow, ...]:
    """Return a row for each layer of `attribution`, with what is estimated and modelled of it where that is known."""
    known = {item.name: item for item in estimates}
    lowerings = {layer.name: layer.lowering for layer in metadata.plan.layers} if metadata else {}
    modelled = time_model.by_layer() if time_model else {}
    return tuple(
        _group_row(part, known)
        if part.layers
        else _row(part, known.get(part.name), lowerings.get(part.name), modelled.get(part.name))
        for part in attribution.layers
    )


def explain(
    estimates: Sequence[LayerEstimate], attribution: Attribution
) -> tuple[tuple[Correlation, ...], TimeModel | None]:
    """Return how well estimates order the layers' times, and the model fitted to them, None for too few layers."""
    seconds = {part.name: part.seconds for part in attribution.layers}
    # A layer that ran in no node of its own (fused into another) has no time to set against its estimate.
    pairs = [(item, time) for item in estimates if (time := seconds[item.name])]
    if not pairs:
        return (), None
    timed, times = [item for item, _ in pairs], [time for _, time in pairs]
    correlations = (
        correlate("Nominal BitOps", [item.nominal_bitops for item in timed], times),
        correlate("Executed BitOps", [item.executed_bitops for item in timed], times),
        correlate("Bytes moved", [item.bytes_moved for item in timed], times),
    )
    return correlations, fit_time_model(timed, times)


def _row(part: LayerPart, item: LayerEstimate | None, lowering: str | None, modelled: float | None) -> LayerRow:
    if item is None:
        return LayerRow(name=part.name, seconds=part.seconds, share=part.share, nodes=part.nodes)
    return LayerRow(
        name=part.name,
        seconds=part.seconds,
        share=part.share,
        nodes=part.nodes,
        kind=item.kind,
        lowering=lowering or item.lowering,
        nominal=item.nominal,
        executed=item.executed,
        macs=item.macs,
        nominal_bitops=item.nominal_bitops,
        executed_bitops=item.executed_bitops,
        bytes_moved=item.bytes_moved,
        rate=item.executed_bitops / part.seconds if part.seconds else None,
        modelled=modelled,
    )


def _group_row(part: LayerPart, known: Mapping[str, LayerEstimate]) -> LayerRow:
    """Return the row of layers that ran together: what they cost in all, and the time that they took in all."""
    items = [known[name] for name in part.layers if name in known]
    executed = sum(item.executed_bitops for item in items)
    return LayerRow(
        name=part.name,
        seconds=part.seconds,
        share=part.share,
        nodes=part.nodes,
        macs=sum(item.macs for item in items),
        nominal_bitops=sum(item.nominal_bitops for item in items),
        executed_bitops=executed,
        bytes_moved=sum(item.bytes_moved for item in items),
        rate=executed / part.seconds if part.seconds else None,
        layers=part.layers,
    )
