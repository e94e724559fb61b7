"""What is known of a network before it is trained."""

from __future__ import annotations

from enum import StrEnum

from qedeploy.bench.attribution.estimates import estimate
from qedeploy.network.costs import layer_size_bytes
from qedeploy.network.graph import structure_graph
from qedeploy.network.layers import expand_layers
from qedeploy.network.structure import Structure
from qedeploy.profiles.profile import Profile
from qedeploy.search.space.space import SearchSpace


class Known(StrEnum):
    """A figure of a network that orders it among others. The more, the more accurate it is expected to be."""

    SCORE = "score"
    PARAMETERS = "parameters"
    MACS = "MACs"
    BITOPS = "nominal BitOps"
    EXECUTED = "executed BitOps"
    SIZE = "parameter bytes"
    LAYERS = "layers"
    LATENCY = "latency table"


def known_of(structure: Structure, space: SearchSpace, profile: Profile) -> dict[Known, float]:
    """Return every figure of a network, its classifier counted; the latency in seconds, where `space` has a table.

    Executed BitOps are left out where the device computes in the nominal widths throughout.
    """
    layers, graph = expand_layers(structure), structure_graph(structure)
    rows = estimate(graph, {} if profile.search_only else profile.executed_bits(layers))
    found = {
        Known.SCORE: space.score.of(structure),
        Known.PARAMETERS: float(sum(layer.weight_count for layer in layers)),
        Known.MACS: float(sum(row.macs for row in rows)),
        Known.BITOPS: sum(row.nominal_bitops for row in rows),
        Known.EXECUTED: sum(row.executed_bitops for row in rows),
        Known.SIZE: sum(map(layer_size_bytes, layers)),
        Known.LAYERS: float(len(layers)),
    }
    if found[Known.EXECUTED] == found[Known.BITOPS]:
        del found[Known.EXECUTED]
    if space.latency is not None:
        found[Known.LATENCY] = space.latency.seconds(graph)
    return found
