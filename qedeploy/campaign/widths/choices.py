"""The pairs that each layer of a network may have on a device, and what each costs there."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from qedeploy.errors import RequestError, UserError
from qedeploy.latency.predictor import LatencyModel
from qedeploy.network.costs import BITOPS_PER_FLOP, layer_flops, layer_size_bytes
from qedeploy.network.graph import structure_graph
from qedeploy.network.layers import Layer, Position, expand_layers
from qedeploy.network.structure import MAX_BITS, Bits, Structure
from qedeploy.profiles.profile import Profile
from qedeploy.search.assign.problem import FIGURES, AssignmentProblem, Choice, LayerChoices
from qedeploy.train.sensitivity import Side, WidthError

Pairs = Mapping[str, tuple[Bits, ...]]
"""The pairs that each layer may have, by name."""


def offered_pairs(
    structure: Structure, profile: Profile, fixed: Mapping[str, str], kept: set[str]
) -> dict[str, tuple[Bits, ...]]:
    """Return the pairs of each layer: what the device gains from, or, where that is one pair for each, all it runs.

    The classifier, which budgets do not count, and layers in `kept` keep theirs. Raises UserError for a layer of
    `fixed` that there is not, RequestError for a pair that the device does not run.
    """
    layers = expand_layers(structure)
    _require_known(fixed, layers, profile)
    native = {layer.name: profile.native_pairs(layer.category) for layer in layers}
    decided = [layer for layer in layers if layer.position is not Position.CLASSIFIER]
    only_one = all(len(native[layer.name]) < 2 for layer in decided)
    found = {}
    for layer in layers:
        if layer.name in fixed:
            found[layer.name] = tuple(pair for pair in profile.pairs(layer.category) if str(pair) == fixed[layer.name])
        elif layer.name in kept or layer not in decided:
            found[layer.name] = (layer.bits,)
        else:
            pairs = profile.pairs(layer.category) if only_one else native[layer.name]
            found[layer.name] = tuple(dict.fromkeys(pair for pair in pairs if pair.weight > 1 and pair.activation > 1))
    return found


def _require_known(fixed: Mapping[str, str], layers: Sequence[Layer], profile: Profile) -> None:
    known = {layer.name: layer for layer in layers}
    for name, pair in fixed.items():
        if name not in known:
            raise UserError(f"--fix {name}={pair}: the network has no layer of that name: `qedeploy score` lists them")
        offered = [str(bits) for bits in profile.pairs(known[name].category)]
        if pair not in offered:
            raise RequestError(f"--fix {name}={pair}: {profile.name} runs {', '.join(offered)} there")


def width_problem(
    structure: Structure,
    profile: Profile,
    pairs: Pairs,
    errors: Sequence[WidthError],
    latency: LatencyModel | None,
) -> AssignmentProblem:
    """Return the problem of choosing among `pairs`; times are 0 where there is no `latency` to predict them.

    Errors of a layer's two sides add up, as those of different layers do. A pair that another of the same layer beats
    in everything is left out.
    """
    known = {(item.layer, item.side, item.bits): item.error for item in errors}
    times = _seconds(structure, pairs, latency)
    layers = []
    for layer in expand_layers(structure):
        choices = [
            Choice(
                precision=str(bits),
                seconds=times[layer.name, bits],
                error=_error(known, layer.name, bits),
                **_counted(layer, bits, profile),
            )
            for bits in pairs[layer.name]
        ]
        layers.append(LayerChoices(name=layer.name, choices=_unbeaten(choices)))
    return AssignmentProblem(float_seconds=0.0, layers=tuple(layers))


def own_costs(structure: Structure, profile: Profile, latency: LatencyModel | None) -> dict[str, float]:
    """Return what `structure` costs with the widths that it has, by figure: what shares are shares of."""
    layers = expand_layers(structure)
    times = _seconds(structure, {layer.name: (layer.bits,) for layer in layers}, latency)
    counted = [_counted(layer, layer.bits, profile) for layer in layers]
    found = {figure: sum(item.get(figure, 0.0) for item in counted) for figure in ("size", "nominal", "executed")}
    return {**found, "seconds": sum(times.values())}


def _error(known: Mapping[tuple[str, Side, int], float], name: str, bits: Bits) -> float:
    sides = ((Side.WEIGHT, bits.weight), (Side.ACTIVATION, bits.activation))
    return sum(known[name, side, width] for side, width in sides if width < MAX_BITS)


def _counted(layer: Layer, bits: Bits, profile: Profile) -> dict[str, float]:
    """Return bytes and BitOps as budgets of a search count them: nothing of the classifier."""
    if layer.position is Position.CLASSIFIER:
        return {}
    found = profile.precision(layer.category, bits)
    executed = bits if found is None else found.lowering.executed(bits)
    return {
        "size": layer_size_bytes(dataclasses.replace(layer, bits=bits)),
        "nominal": BITOPS_PER_FLOP * layer_flops(layer, bits),
        "executed": BITOPS_PER_FLOP * layer_flops(layer, executed),
    }


def _seconds(structure: Structure, pairs: Pairs, latency: LatencyModel | None) -> dict[tuple[str, Bits], float]:
    """Return the predicted time of each layer at each pair; the model adds up over layers."""
    if latency is None:
        return {(name, bits): 0.0 for name, offered in pairs.items() for bits in offered}
    graph = structure_graph(structure)
    found = {}
    for number in range(max(map(len, pairs.values()))):
        chosen = {name: offered[min(number, len(offered) - 1)] for name, offered in pairs.items()}
        times = latency.seconds_by_layer(graph.with_bits(chosen))
        found.update({(name, bits): times[name] for name, bits in chosen.items()})
    return found


def _unbeaten(choices: Sequence[Choice]) -> tuple[Choice, ...]:
    figures = {item.precision: tuple(getattr(item, figure) for figure in FIGURES) for item in choices}

    def beaten(item: Choice) -> bool:
        own = figures[item.precision]
        return any(
            other != own and all(theirs <= mine for theirs, mine in zip(other, own, strict=True))
            for other in figures.values()
        )

    return tuple(item for item in choices if not beaten(item))
