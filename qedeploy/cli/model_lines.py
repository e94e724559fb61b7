"""What a written model.pth holds, in a few lines for a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.text import Text

from qedeploy.model.network import QuantizedNetwork, signed_activations
from qedeploy.network.costs import structure_costs
from qedeploy.network.layers import expand_layers
from qedeploy.profiles.profile import Profile
from qedeploy.units import format_bytes, format_count


def model_document(network: QuantizedNetwork, path: Path, profile: Profile) -> dict[str, Any]:
    """Return the same as JSON-ready data; counts of operations and bytes are without the classifier."""
    structure = network.structure
    costs = structure_costs(structure)
    return {
        "model": str(path),
        "profile": profile.name,
        "layers": len(expand_layers(structure)),
        "classes": structure.classifier.classes,
        "resolution": structure.resolution,
        "bitops": costs.bitops,
        "size_bytes": costs.size_bytes,
        "peak_memory_bytes": costs.peak_memory_bytes,
    }


def model_lines(
    network: QuantizedNetwork, weights: str, path: Path, profile: Profile, *, trained: bool
) -> tuple[Text, ...]:
    """Return lines on what was written to `path`: `weights` says where they come from; the last is what to do next."""
    structure = network.structure
    layers = expand_layers(structure)
    signed = len(signed_activations(network))
    costs = structure_costs(structure)
    macs = format_count(sum(layer.macs for layer in layers))
    if not trained:
        following = f"qedeploy train {path} --data DIR"
    else:
        following = (
            "export it with the --profile of a device that runs it"
            if profile.search_only
            else f"qedeploy export {path}"
        )
    return (
        Text(f"{path}: {len(layers)} layers, {structure.classifier.classes} classes, {weights}"),
        Text(
            f"{macs} multiply-accumulates at {structure.resolution} pixels, "
            f"{format_count(costs.bitops)} nominal BitOps, {format_bytes(costs.size_bytes)} without the classifier"
        ),
        Text(f"{signed} of {len(layers)} activation quantizers are signed; profile {profile.name}"),
        Text.assemble("next: ", (following, "bold")),
    )
