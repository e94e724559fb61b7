"""A profile's TOML form: its strict schema, the pairs that no runtime has, and the Profile it stands for."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, TypeAdapter

from qedeploy.errors import UserError
from qedeploy.network.layers import LayerCategory
from qedeploy.network.structure import MAX_BITS, Bits
from qedeploy.plugins import RUNTIMES
from qedeploy.profiles.capabilities import Capabilities, capabilities_of
from qedeploy.profiles.profile import NO_RUNTIME, REQUIRED_CATEGORIES, Lowering, Memory, Precision, Profile, Rate
from qedeploy.schema import validate
from qedeploy.units import Quantity, parse_quantity


def _all_kinds(value: object) -> object:
    return list(REQUIRED_CATEGORIES) if value == "all" else value


def _quantity(quantity: Quantity) -> BeforeValidator:
    return BeforeValidator(lambda value: parse_quantity(value, quantity))


Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
Width = Annotated[int, Field(ge=1, le=MAX_BITS, strict=True)]
Widths = Annotated[list[Width], Field(min_length=1)]
Bytes = Annotated[float, _quantity(Quantity.BYTES)]


class _Table(BaseModel):
    # Built once, as parts of the whole profile, and not each on its own before.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class _PrecisionTable(_Table):
    """Every weight width with every activation width, for every kind."""

    kinds: Annotated[list[LayerCategory], BeforeValidator(_all_kinds), Field(min_length=1)]
    weight_bits: Widths
    activation_bits: Widths
    lowering: Lowering
    carried: bool = False

    def pairs(self) -> tuple[Bits, ...]:
        widths = product(self.weight_bits, self.activation_bits)
        return tuple(Bits(weight=weight, activation=activation) for weight, activation in widths)


class _RateTable(_Table):
    peak: Annotated[float, _quantity(Quantity.RATE)]
    source: Text


class _MemoryTable(_Table):
    weights: Bytes | None = None
    activations: Bytes | None = None
    reserved_flash: Bytes = 0
    reserved_sram: Bytes = 0
    bandwidth: Annotated[float, _quantity(Quantity.BANDWIDTH)] | None = None
    source: Text


class _ProfileTable(_Table):
    device: Text
    runtime: Text
    dialect: Text | None = None
    target: Text | None = None
    description: Text
    source: Text
    recipe: Text = "k1dwk1-224"
    unsigned_activation_bits: Annotated[int, Field(ge=0, le=MAX_BITS, strict=True)]
    precision: Annotated[list[_PrecisionTable], Field(min_length=1)]
    rates: dict[Lowering, _RateTable] = {}
    memory: _MemoryTable | None = None


def profile_from_document(data: dict[str, Any], *, name: str, source: Path | str) -> Profile:
    """Return the Profile of a TOML file's tables; raises UserError naming `source` and every fault with its field."""
    table = validate(TypeAdapter(_ProfileTable), data, source)
    faults = [*_impossible(table), *_repeated(table), *_overfull(table), *_kinds_without_native(table)]
    if faults:
        raise UserError(f"{source}: {'; '.join(faults)}")
    memory = table.memory
    return Profile(
        name=name,
        device=table.device,
        runtime=table.runtime,
        dialect=table.dialect,
        target=table.target,
        description=" ".join(table.description.split()),
        source=" ".join(table.source.split()),
        recipe=table.recipe,
        unsigned_activation_bits=table.unsigned_activation_bits,
        precisions={kind: found for kind in LayerCategory if (found := _precisions(table, kind))},
        rates={
            lowering: Rate(operations_per_second=rate.peak, source=" ".join(rate.source.split()))
            for lowering, rate in table.rates.items()
        },
        memory=Memory()
        if memory is None
        else Memory(
            weight_bytes=None if memory.weights is None else int(memory.weights),
            activation_bytes=None if memory.activations is None else int(memory.activations),
            reserved_flash=int(memory.reserved_flash),
            reserved_sram=int(memory.reserved_sram),
            bandwidth_bytes_per_second=memory.bandwidth,
            source=" ".join(memory.source.split()),
        ),
    )


def _precisions(table: _ProfileTable, kind: LayerCategory) -> tuple[Precision, ...]:
    found = [
        Precision(bits=bits, lowering=entry.lowering, carried=entry.carried)
        for entry in table.precision
        if kind in entry.kinds
        for bits in entry.pairs()
    ]
    return tuple(sorted(found, key=lambda precision: (precision.carried, precision.bits)))


def _impossible(table: _ProfileTable) -> Iterator[str]:
    capabilities = capabilities_of(table.runtime)
    if capabilities is None:
        yield f"runtime: expected one of {', '.join((NO_RUNTIME, *RUNTIMES.names()))}, found {table.runtime}"
        return
    widest = capabilities.unsigned_activation_bits
    if widest is not None and table.unsigned_activation_bits != widest:
        yield (
            f"unsigned_activation_bits: expected {widest}, the widest that {table.runtime} represents exactly, "
            f"found {table.unsigned_activation_bits}"
        )
    yield from _impossible_target(table, capabilities)
    for index, entry in enumerate(table.precision):
        where = f"precision[{index}]"
        if entry.lowering not in capabilities.lowerings:
            offered = ", ".join(capabilities.lowerings)
            yield f"{where}.lowering: expected what {table.runtime} executes ({offered}), found {entry.lowering}"
        yield from _impossible_widths(where, entry)
        yield from _impossible_kinds(where, entry, capabilities)


def _impossible_target(table: _ProfileTable, capabilities: Capabilities) -> Iterator[str]:
    target, known = table.target, capabilities.targets
    if not known:
        if target is not None:
            yield f"target: expected none, {table.runtime} compiles for the device that is here, found {target}"
        return
    offered = ", ".join(name for name, refused in known.items() if not refused)
    if target not in known or target is None:
        yield f"target: expected what {table.runtime} compiles for ({offered}), found {target or 'none'}"
    elif known[target]:
        yield f"target: expected one of {offered}, found {target}: {known[target]}"


def _impossible_kinds(where: str, entry: _PrecisionTable, capabilities: Capabilities) -> Iterator[str]:
    restriction = capabilities.restrictions.get(entry.lowering)
    lacking = [] if restriction is None else [kind for kind in entry.kinds if kind not in restriction.kinds]
    if restriction is not None and lacking:
        yield (
            f"{where}.kinds: {entry.lowering} is for {restriction.what} ({', '.join(restriction.kinds)}), "
            f"found {', '.join(lacking)}"
        )


def _impossible_widths(where: str, entry: _PrecisionTable) -> Iterator[str]:
    limit = {Lowering.INT8: 8, Lowering.INT4_WEIGHT_ONLY: 4}.get(entry.lowering, MAX_BITS)
    wide = [width for width in entry.weight_bits if width > limit]
    if wide:
        yield f"{where}.weight_bits: expected at most {limit} for {entry.lowering}, found {_listed(wide)}"
    if entry.lowering is Lowering.INT8:
        wide = [width for width in entry.activation_bits if width > 8]
        if wide:
            yield f"{where}.activation_bits: expected at most 8 for int8, found {_listed(wide)}"
    if entry.lowering is Lowering.INT4_WEIGHT_ONLY and set(entry.activation_bits) != {MAX_BITS}:
        yield (
            f"{where}.activation_bits: expected [16] for int4-weight-only (the arithmetic is float16), "
            f"found {_listed(entry.activation_bits)}"
        )


def _overfull(table: _ProfileTable) -> Iterator[str]:
    memory = table.memory
    if memory is None:
        return
    for reserve, reserved, of, limit in (
        ("reserved_flash", memory.reserved_flash, "weights", memory.weights),
        ("reserved_sram", memory.reserved_sram, "activations", memory.activations),
    ):
        if reserved and (limit is None or reserved >= limit):
            yield f"memory.{reserve}: expected less than memory.{of}, which it is a part of, found {reserved:g} bytes"


def _repeated(table: _ProfileTable) -> Iterator[str]:
    seen: dict[tuple[LayerCategory, Bits], int] = {}
    for index, entry in enumerate(table.precision):
        clashes: dict[int, list[str]] = {}
        for key in product(entry.kinds, entry.pairs()):
            if key in seen:
                clashes.setdefault(seen[key], []).append(f"{key[1]} for {key[0]}")
            seen.setdefault(key, index)
        for other, pairs in clashes.items():
            more = f" and {len(pairs) - 1} more" if len(pairs) > 1 else ""
            yield f"precision[{index}]: {pairs[0]}{more} given already by precision[{other}]; give each pair once"


def _kinds_without_native(table: _ProfileTable) -> Iterator[str]:
    native = {kind for entry in table.precision if not entry.carried for kind in entry.kinds}
    lacking = [kind for kind in REQUIRED_CATEGORIES if kind not in native]
    if lacking:
        yield f"precision: expected at least one pair that is not carried for {', '.join(lacking)}, found none"


def _listed(widths: list[int]) -> str:
    return ", ".join(map(str, widths))
