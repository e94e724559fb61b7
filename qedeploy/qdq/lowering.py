"""From a trained network to a lowered one: what every layer becomes on a profile's device, and on which grids."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from qedeploy.errors import RequestError
from qedeploy.network.layers import Layer
from qedeploy.network.operations import IMAGE, Operation, OperationKind, consumers
from qedeploy.profiles.profile import Precision, Profile
from qedeploy.qdq.calibration import Wanted, calibrate
from qedeploy.qdq.dialect import Dialect, QuantizationPoint
from qedeploy.qdq.fold import FoldedLayer, fold
from qedeploy.qdq.lowered import LoweredNetwork, weight_range
from qedeploy.qdq.plan import Grid, LayerPlan, LoweringPlan, StepSource, ValuePlan
from qedeploy.qdq.trained import TrainedNetwork


def plan_layers(layers: tuple[Layer, ...], profile: Profile, dialect: Dialect) -> dict[str, Precision]:
    """Return how each layer runs on `profile`.

    Raises RequestError naming the layer where the profile lacks its bits, or the dialect the lowering.
    """
    precisions = {layer.name: profile.lower(layer) for layer in layers}
    for name, precision in precisions.items():
        if precision.lowering not in dialect.lowerings:
            offered = ", ".join(sorted(dialect.lowerings))
            raise RequestError(
                f"{name}: profile {profile.name} lowers {precision.bits} to {precision.lowering}, which graphs for "
                f"{dialect.name} cannot hold; they hold {offered}"
            )
    return precisions


def require_signedness(grids: Mapping[str, Grid | Wanted | None], readers: Mapping[str, str], profile: Profile) -> None:
    """Raise RequestError, naming the layer, where an unsigned activation is wider than the runtime represents."""
    for value, reader in readers.items():
        grid = grids.get(value)
        if grid is not None and not grid.signed and grid.bits > profile.unsigned_activation_bits:
            raise RequestError(
                f"{reader}: reads unsigned {grid.bits}-bit activations, and profile {profile.name} represents unsigned "
                f"ones of at most {profile.unsigned_activation_bits} bits: train with a model made for that profile "
                f"(qedeploy search --profile {profile.name}), or export for another"
            )


def lower(
    trained: TrainedNetwork,
    profile: Profile,
    dialect: Dialect,
    images: Tensor,
    source: StepSource,
    *,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> LoweredNetwork:
    """Return `trained` as `profile` executes it, arranged for `dialect`.

    Steps that were not trained, also of the dialect's extra points, are calibrated on `images` (batch, channels,
    height, width), whose kind `source` names. Raises RequestError where the profile cannot run the network.
    """
    steps, layers = trained.graph.operations, trained.graph.layers
    readers = consumers(steps)
    precisions = plan_layers(layers, profile, dialect)
    require_signedness(trained.grids, readers, profile)
    points = dialect.points(steps, [name for name, grid in trained.grids.items() if grid is not None])
    folded = {
        layer.name: fold(
            trained.layers[layer.name], highest=dialect.highest_weight(precisions[layer.name].lowering, layer.bits)
        )
        for layer in layers
    }
    wanted = {
        **{name: grid for name, grid in trained.grids.items() if grid is not None},
        **{point.value: _point_grid(point, trained.points.get(point.value)) for point in points},
    }
    if source is StepSource.RANDOM:
        # Random data says less about a step than the images that set it.
        wanted = {name: _as_set(grid) for name, grid in wanted.items()}
    found = calibrate(steps, folded, wanted, images, integer_bias=dialect.integer_bias, progress=progress)
    inputs = {step.name: found.grids.get(step.inputs[0]) for step in steps}
    plan = LoweringPlan(
        profile=profile.name,
        runtime=dialect.runtime,
        dialect=dialect.name,
        layers=tuple(
            _layer_plan(layer, precisions[layer.name], inputs[layer.name], found.layers[layer.name]) for layer in layers
        ),
        values=_value_plans(found.grids, wanted, readers, points, source),
        quantized_shortcuts=_quantized_shortcuts(steps, found.grids, points),
        integer_bias=dialect.integer_bias,
    )
    return dialect.arrange(LoweredNetwork(graph=trained.graph, plan=plan, layers=found.layers))


def _point_grid(point: QuantizationPoint, known: Grid | Wanted | None) -> Grid | Wanted:
    """Return the grid that training had for a point, or a Wanted one."""
    if known is not None and (known.bits, known.signed) == (point.bits, point.signed):
        return known
    return Wanted(bits=point.bits, signed=point.signed, nonnegative=point.nonnegative, ceiling=point.ceiling)


def _as_set(grid: Grid | Wanted) -> Grid | Wanted:
    return grid.grid(grid.step) if isinstance(grid, Wanted) and grid.step is not None else grid


def _layer_plan(layer: Layer, precision: Precision, grid: Grid | None, folded: FoldedLayer) -> LayerPlan:
    low, high = weight_range(folded)
    return LayerPlan(
        name=layer.name,
        kind=layer.category,
        bits=layer.bits,
        lowering=precision.lowering,
        executed=precision.lowering.executed(layer.bits),
        input=grid,
        weight_low=low,
        weight_high=high,
        weight_multiple=folded.weight_multiple,
        clipped_weights=folded.clipped_weights,
        dead_channels=folded.dead_channels,
        rescaled_channels=folded.rescaled_channels,
    )


def _value_plans(
    grids: Mapping[str, Grid],
    wanted: Mapping[str, Grid | Wanted],
    readers: Mapping[str, str],
    points: tuple[QuantizationPoint, ...],
    source: StepSource,
) -> tuple[ValuePlan, ...]:
    reasons = {point.value: point.reason for point in points}
    return tuple(
        ValuePlan(
            name=name,
            grid=grid,
            source=source if isinstance(wanted[name], Wanted) else StepSource.TRAINED,
            reader=None if name in reasons else readers[name],
            reason=reasons.get(name, ""),
        )
        for name, grid in grids.items()
    )


def _quantized_shortcuts(
    steps: tuple[Operation, ...], grids: Mapping[str, Grid], points: tuple[QuantizationPoint, ...]
) -> tuple[str, ...]:
    extra = {point.value for point in points}
    pools = {step.name: step.inputs[0] for step in steps if step.kind is OperationKind.AVERAGE_POOL}
    read = [step.inputs[1] for step in steps if step.kind is OperationKind.ADD]
    origins = [pools.get(name, name) for name in read]
    return tuple(dict.fromkeys(name for name in origins if name in grids and name not in extra and name != IMAGE))
