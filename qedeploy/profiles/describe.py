"""A profile in words: its pairs in short, for tables, and all of it as plain data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from qedeploy.network.layers import LayerCategory
from qedeploy.network.structure import Bits
from qedeploy.profiles.profile import REQUIRED_CATEGORIES, Lowering, Precision, Profile
from qedeploy.units import format_bytes


def compact_widths(widths: Iterable[int]) -> str:
    """Return widths in short: a run of three or more as `2..8`, others one by one: `2,4,8`."""
    runs: list[list[int]] = []
    for width in sorted(set(widths)):
        if runs and width == runs[-1][-1] + 1:
            runs[-1].append(width)
        else:
            runs.append([width])
    parts = (f"{run[0]}..{run[-1]}" if len(run) > 2 else ",".join(map(str, run)) for run in runs)
    return ",".join(parts)


def compact_pairs(pairs: Iterable[Bits]) -> tuple[str, ...]:
    """Return pairs in short, as rectangles of weight widths by activation widths: `W2..7 A2..8`, a lone one `W4A16`."""
    by_weight: dict[int, set[int]] = {}
    for bits in pairs:
        by_weight.setdefault(bits.weight, set()).add(bits.activation)
    rectangles: dict[frozenset[int], list[int]] = {}
    for weight, activations in sorted(by_weight.items()):
        rectangles.setdefault(frozenset(activations), []).append(weight)
    return tuple(_rectangle(weights, activations) for activations, weights in rectangles.items())


def _rectangle(weights: Iterable[int], activations: Iterable[int]) -> str:
    weight, activation = compact_widths(weights), compact_widths(activations)
    gap = "" if weight.isdigit() and activation.isdigit() else " "
    return f"W{weight}{gap}A{activation}"


def same_precisions(profile: Profile) -> tuple[tuple[tuple[LayerCategory, ...], tuple[Precision, ...]], ...]:
    """Return the layer kinds in groups that run the same pairs in the same way, in the order of LayerCategory."""
    groups: dict[tuple[Precision, ...], list[LayerCategory]] = {}
    for kind, precisions in profile.precisions.items():
        groups.setdefault(precisions, []).append(kind)
    return tuple((tuple(kinds), precisions) for precisions, kinds in groups.items())


def kind_names(kinds: tuple[LayerCategory, ...]) -> str:
    """Return layer kinds in words, `all` for every one."""
    return "all layers" if set(kinds) >= set(REQUIRED_CATEGORIES) else ", ".join(kinds)


def by_lowering(precisions: tuple[Precision, ...], *, carried: bool) -> tuple[tuple[Lowering, tuple[Bits, ...]], ...]:
    """Return the native or the carried pairs of a layer kind, grouped by what they are lowered to."""
    groups: dict[Lowering, list[Bits]] = {}
    for precision in precisions:
        if precision.carried is carried:
            groups.setdefault(precision.lowering, []).append(precision.bits)
    return tuple((lowering, tuple(pairs)) for lowering, pairs in groups.items())


def precision_summary(profile: Profile) -> tuple[str, ...]:
    """Return lines: each group of layer kinds, then its native pairs with what they become, and how many are carried.

    A single group for all kinds takes one line.
    """
    lines: list[str] = []
    groups = same_precisions(profile)
    for kinds, precisions in groups:
        native = [
            f"{'; '.join(compact_pairs(pairs))} {lowering}"
            for lowering, pairs in by_lowering(precisions, carried=False)
        ]
        carried = sum(precision.carried for precision in precisions)
        if carried:
            native[-1] += f" (+{carried} carried)"
        if len(groups) == 1:
            lines.append(f"all: {', '.join(native)}")
        else:
            lines += [f"{kind_names(kinds)}:", *(f"  {part}" for part in native)]
    return tuple(lines)


def memory_summary(profile: Profile) -> tuple[str, ...]:
    """Return the memory limits in words, `none` if no structure comes near them."""
    memory = profile.memory
    limits = (("weights", memory.weight_bytes), ("activations", memory.activation_bytes))
    return tuple(f"{name} {format_bytes(limit)}" for name, limit in limits if limit is not None)


def reserves_summary(profile: Profile) -> tuple[str, ...]:
    """Return in words what a search leaves of the memory; nothing where it hands out all."""
    reserves = (("flash", profile.memory.reserved_flash), ("SRAM", profile.memory.reserved_sram))
    return tuple(f"{format_bytes(reserve)} of {name}" for name, reserve in reserves if reserve)


def profile_document(profile: Profile) -> dict[str, Any]:
    """Return all of `profile` as JSON-ready data; rates in operations and bytes per second, memory in bytes."""
    memory = profile.memory
    return {
        "name": profile.name,
        "device": profile.device,
        "runtime": profile.runtime,
        **({} if profile.dialect is None else {"dialect": profile.dialect}),
        **({} if profile.target is None else {"target": profile.target}),
        "description": profile.description,
        "source": profile.source,
        "recipe": profile.recipe,
        "unsigned_activation_bits": profile.unsigned_activation_bits,
        "precisions": {
            str(kind): [_precision_document(precision) for precision in precisions]
            for kind, precisions in profile.precisions.items()
        },
        "rates": {
            str(lowering): {"operations_per_second": rate.operations_per_second, "source": rate.source}
            for lowering, rate in profile.rates.items()
        },
        "memory": {
            "weight_bytes": memory.weight_bytes,
            "activation_bytes": memory.activation_bytes,
            "reserved_flash": memory.reserved_flash,
            "reserved_sram": memory.reserved_sram,
            "bandwidth_bytes_per_second": memory.bandwidth_bytes_per_second,
            "source": memory.source,
        },
    }


def _precision_document(precision: Precision) -> dict[str, Any]:
    bits, executed = precision.bits, precision.lowering.executed(precision.bits)
    return {
        "weight_bits": bits.weight,
        "activation_bits": bits.activation,
        "lowering": str(precision.lowering),
        "carried": precision.carried,
        "nominal_bitops_per_mac": bits.weight * bits.activation,
        "executed_bitops_per_mac": executed.weight * executed.activation,
    }
