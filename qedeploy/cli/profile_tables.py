"""Profiles as tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from qedeploy.network.structure import Bits
from qedeploy.profiles.describe import (
    by_lowering,
    compact_pairs,
    kind_names,
    memory_summary,
    precision_summary,
    reserves_summary,
    same_precisions,
)
from qedeploy.profiles.profile import Lowering, Profile
from qedeploy.units import format_bandwidth, format_rate


def profiles_table(profiles: Sequence[Profile]) -> Table:
    """Return one row for each profile."""
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("profile", no_wrap=True)
    table.add_column("device", max_width=34, ratio=1)
    table.add_column("runtime", no_wrap=True)
    table.add_column("precisions per layer kind", ratio=1)
    table.add_column("memory\nlimits", width=11)
    for profile in profiles:
        table.add_row(
            profile.name,
            Text(profile.device),
            profile.runtime,
            Text("\n".join(precision_summary(profile))),
            "\n".join(line.replace(" ", "\n ", 1) for line in memory_summary(profile)) or "none",
        )
    return table


def facts_table(profile: Profile) -> Table:
    """Return what a profile says of its device, each figure with its source."""
    memory = profile.memory
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column()
    rows = [
        ("device", profile.device),
        ("runtime", _runtime(profile)),
        ("about", profile.description),
        ("source", profile.source),
        ("recipe", f"{profile.recipe}, where a search names none"),
        ("unsigned", f"activations after a ReLU up to {profile.unsigned_activation_bits} bits, signed above"),
        ("memory", "; ".join(memory_summary(profile)) or "no limit stated"),
    ]
    if reserves_summary(profile):
        rows.append(("reserved", f"{' and '.join(reserves_summary(profile))}, which a search leaves free"))
    if memory.bandwidth_bytes_per_second is not None:
        rows.append(("bandwidth", format_bandwidth(memory.bandwidth_bytes_per_second)))
    if memory.source:
        rows.append(("", f"source: {memory.source}"))
    for lowering, rate in profile.rates.items():
        floating = lowering is not Lowering.INT8
        rows.append((f"peak {lowering}", format_rate(rate.operations_per_second, floating=floating)))
        rows.append(("", f"source: {rate.source}"))
    if not profile.rates:
        rows.append(("peak rate", "none stated"))
    for name, value in rows:
        table.add_row(name, Text(value))
    return table


def lowering_table(profile: Profile) -> Table:
    """Return what each pair becomes and what it executes: native pairs first, carried ones as ranges."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("layers")
    table.add_column("bits")
    table.add_column("lowered to", no_wrap=True)
    for heading in ("nominal", "executed"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.caption = "nominal, executed: BitOps of one multiply-accumulate"
    table.caption_justify = "left"
    for kinds, precisions in same_precisions(profile):
        name = kind_names(kinds)
        for carried in (False, True):
            for lowering, pairs in by_lowering(precisions, carried=carried):
                cells = ("\n".join(compact_pairs(pairs)), f"{lowering}, carried" if carried else str(lowering))
                table.add_row(name, *cells, _range(pairs, None), _range(pairs, lowering))
                name = ""
    return table


def _runtime(profile: Profile) -> str:
    return "none, search only" if profile.search_only else profile.runtime


def _range(pairs: tuple[Bits, ...], lowering: Lowering | None) -> str:
    widths = (lowering.executed(bits) if lowering else bits for bits in pairs)
    products = [bits.weight * bits.activation for bits in widths]
    low, high = min(products), max(products)
    return str(low) if low == high else f"{low}..{high}"
