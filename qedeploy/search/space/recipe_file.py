"""A recipe's TOML form: its strict schema, and the Recipe it stands for, both ways."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from qedeploy.errors import UserError
from qedeploy.network.structure import (
    MAX_BITS,
    MAX_BLOCKS,
    MAX_SIZE,
    Bits,
    Block,
    Classifier,
    Convolution,
    Stage,
    Structure,
)
from qedeploy.schema import validate
from qedeploy.search.costs.registry import all_budgets, budget_named
from qedeploy.search.score.registry import score_class, score_names
from qedeploy.search.score.score import Score
from qedeploy.search.space.budgets import in_order
from qedeploy.search.space.recipe import Recipe
from qedeploy.search.space.space import ROUND_CHANNELS, BitsPer
from qedeploy.units import Quantity, parse_quantity

DEFAULT_SCORE = "madnas"

MOST_CHANNELS = 512
"""Numbers of channels that a stage may choose from: what a stage takes to search grows with their square."""

MOST_CHOICES = 32
"""Kernels, ratios and depths that a stage may choose from, and stages of a recipe."""

MOST_STAGES = 50_000
"""Shapes that a stage may choose from; the recipes that ship have 5,760."""

MOST_PAIRS = 256
"""Bit pairs that a layer may choose from: all that there are."""

PROFILE_BITS = "profile"
"""Stands for whatever pairs the profile executes natively."""

_PAIR = re.compile(r"W(\d{1,2})A(\d{1,2})", re.ASCII)
_PAIRS_EXPECTED = (
    'expected "profile", a list of pairs such as ["W8A8"], or a table with weight_bits and activation_bits'
)


def _pair(value: object) -> object:
    if isinstance(value, Bits):
        return value
    match = _PAIR.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"expected a pair such as W8A8, found {value!r}")
    return Bits(weight=int(match[1]), activation=int(match[2]))


def _pairs(value: object) -> object:
    if value == PROFILE_BITS:
        return None
    if isinstance(value, list) and value:
        return value
    if isinstance(value, dict) and set(value) == {"weight_bits", "activation_bits"}:
        widths = (value["weight_bits"], value["activation_bits"])
        if all(isinstance(side, list) and 0 < len(side) <= MAX_BITS for side in widths):
            return [Bits(weight=weight, activation=activation) for weight, activation in product(*widths)]
    raise ValueError(f"{_PAIRS_EXPECTED}, found {value!r}")


def _channels(value: object) -> object:
    if not isinstance(value, dict):
        return value
    low, high = value.get("min"), value.get("max")
    if set(value) != {"min", "max"} or not isinstance(low, int) or not isinstance(high, int) or low > high:
        raise ValueError(f"expected a list, or a table with min and max in that order, found {value!r}")
    if low % ROUND_CHANNELS or high % ROUND_CHANNELS:
        raise ValueError(f"min, max: expected multiples of {ROUND_CHANNELS}, found {low} and {high}")
    # Counted before they are listed: a maximum may be anything.
    if (high - low) // ROUND_CHANNELS >= MOST_CHANNELS:
        raise ValueError(
            f"expected at most {MOST_CHANNELS} numbers of channels, found {(high - low) // ROUND_CHANNELS + 1}"
        )
    return list(range(low, high + 1, ROUND_CHANNELS))


def _depths(value: object) -> object:
    # One list serves every stage: [1, 2, 3] is what most recipes mean.
    if isinstance(value, list) and value and not any(isinstance(item, list) for item in value):
        return [value]
    return value


def _limits(value: object) -> object:
    if not isinstance(value, dict):
        return value
    faults, found = [], {}
    for key, limit in value.items():
        try:
            budget = budget_named(key)
        except UserError:
            faults.append(f"{key}: expected one of {', '.join(map(str, all_budgets()))}")
            continue
        try:
            found[budget.name] = parse_quantity(limit, budget.quantity)
        except ValueError as error:
            faults.append(f"{key}: {error}")
    if faults:
        raise ValueError("; ".join(faults))
    return found


def _score(value: object) -> Score:
    """Return the score of a [score]; its `kind` says of which class, whose fields are the other keys."""
    if not isinstance(value, dict):
        raise ValueError(f"expected a table, found {value!r}")
    settings = dict(value)
    kind = settings.pop("kind", DEFAULT_SCORE)
    try:
        if not isinstance(kind, str):
            raise UserError(f"score {kind!r}: expected a name")
        found = score_class(kind)
    except UserError as error:
        known = " or ".join(repr(name) for name in score_names())
        fault = PydanticCustomError("score_kind", "Input should be {known}", {"known": known})
        raise ValidationError.from_exception_data(
            "score", [InitErrorDetails(type=fault, loc=("kind",), input=kind)]
        ) from error
    return TypeAdapter(found).validate_python(settings)


def _sorted(values: list[Any]) -> tuple[Any, ...]:
    return tuple(sorted(set(values)))


Sorted = AfterValidator(_sorted)
Count = Annotated[int, Field(ge=1, le=MAX_SIZE, strict=True)]
Depth = Annotated[int, Field(ge=1, le=MAX_BLOCKS, strict=True)]
Multiple = Annotated[int, Field(ge=ROUND_CHANNELS, le=MAX_SIZE, multiple_of=ROUND_CHANNELS, strict=True)]
Channels = Annotated[list[Multiple], BeforeValidator(_channels), Field(min_length=1, max_length=MOST_CHANNELS), Sorted]
Stride = Annotated[int, Field(ge=1, le=2, strict=True)]
Pair = Annotated[Bits, BeforeValidator(_pair)]
Pairs = Annotated[Annotated[list[Pair], Field(max_length=MOST_PAIRS), Sorted] | None, BeforeValidator(_pairs)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Ratio = Annotated[float, Field(gt=0, le=1000)]


def _odd(value: int) -> int:
    if value % 2 == 0:
        raise ValueError(f"expected an odd size, found {value}")
    return value


Kernel = Annotated[Count, BeforeValidator(lambda value: _odd(value) if isinstance(value, int) else value)]


class _Table(BaseModel):
    # Built once, as parts of the whole recipe, and not each on its own before.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class _Stem(_Table):
    channels: Channels
    kernel: Kernel = 3
    stride: Stride = 2
    bits: Pair = Bits(weight=8, activation=8)


class _Head(_Table):
    channels: Count = 1280
    bits: Pairs = None


class _Classifier(_Table):
    classes: Count = 1000
    bits: Pair = Bits(weight=8, activation=8)


class _Stages(_Table):
    strides: Annotated[list[Stride], Field(min_length=1, max_length=MOST_CHOICES)]
    channels: Channels
    kernels: Annotated[list[Kernel], Field(min_length=1, max_length=MOST_CHOICES), Sorted]
    ratios: Annotated[list[Ratio], Field(min_length=1, max_length=MOST_CHOICES), Sorted]
    depths: Annotated[
        list[Annotated[list[Depth], Field(min_length=1, max_length=MOST_CHOICES), Sorted]],
        BeforeValidator(_depths),
        Field(min_length=1, max_length=MOST_CHOICES),
    ]
    bits: Pairs = None
    bits_per: BitsPer = BitsPer.BLOCK

    @model_validator(mode="after")
    def _one_depth_list_per_stage(self) -> Self:
        if len(self.depths) not in {1, len(self.strides)}:
            raise ValueError(
                f"depths: expected one list for all stages or one for each of the {len(self.strides)}, "
                f"found {len(self.depths)}"
            )
        return self

    @model_validator(mode="after")
    def _searchable(self) -> Self:
        choices = len(set(self.channels)) * len(set(self.kernels)) * len(set(self.ratios)) * max(map(len, self.depths))
        if choices > MOST_STAGES:
            raise ValueError(
                f"expected at most {MOST_STAGES:,} shapes of a stage (channels x kernels x ratios x depths), "
                f"found {choices:,}"
            )
        return self


class _StartStage(_Table):
    channels: Count
    bottleneck: Count
    kernel: Kernel
    blocks: Annotated[list[Annotated[list[Pair], Field(min_length=3, max_length=3)]], Field(min_length=1)]


class _Start(_Table):
    stem_channels: Count
    head_bits: Pair
    stages: Annotated[list[_StartStage], Field(min_length=1)]


class _RecipeTable(_Table):
    description: Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
    resolution: Count = 224
    stem: _Stem
    stages: _Stages
    head: _Head = Field(default_factory=_Head)
    classifier: _Classifier = Field(default_factory=_Classifier)
    budgets: Annotated[dict[str, float], BeforeValidator(_limits)] = {}
    score: Annotated[Score, PlainValidator(_score)] = Field(default_factory=lambda: _score({}))
    start: list[_Start] = []

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        try:
            self.score.weights((self.stem.stride, *self.stages.strides, 1))
        except UserError as error:
            raise ValueError(f"score.{error}") from error
        for index, start in enumerate(self.start):
            if len(start.stages) != len(self.stages.strides):
                raise ValueError(
                    f"start[{index}].stages: expected {len(self.stages.strides)}, one for each stride, "
                    f"found {len(start.stages)}"
                )
        return self


_PARTS: dict[str, tuple[type[_Table], str]] = {
    "stem": (_Stem, "stem_"),
    "stages": (_Stages, ""),
    "head": (_Head, "head_"),
    "classifier": (_Classifier, "classifier_"),
}
_PLACES = tuple(
    (part, key, {"classifier_classes": "classes"}.get(f"{prefix}{key}", f"{prefix}{key}"))
    for part, (table, prefix) in _PARTS.items()
    for key in table.model_fields
)
"""Table, key and the Recipe's field of everything that its tables say."""


def recipe_from_document(data: dict[str, Any], *, name: str, source: Path | str) -> Recipe:
    """Return the Recipe of a TOML file's tables; raises UserError naming `source` and every fault with its field."""
    table = validate(TypeAdapter(_RecipeTable), data, source)
    found = {field: getattr(getattr(table, part), key) for part, key, field in _PLACES}
    found["strides"] = tuple(found["strides"])
    # One list serves all stages.
    found["depths"] = tuple(found["depths"] * (len(found["strides"]) if len(found["depths"]) == 1 else 1))
    return Recipe(
        **found,
        name=name,
        description=" ".join(table.description.split()),
        resolution=table.resolution,
        budgets=in_order({budget_named(name): limit for name, limit in table.budgets.items()}),
        score=table.score,
        start=tuple(_structure(start, table) for start in table.start),
    )


def recipe_to_document(recipe: Recipe) -> dict[str, Any]:
    """Return `recipe` as JSON-ready data in the form of its TOML file."""
    parts: dict[str, dict[str, Any]] = {}
    for part, key, field in _PLACES:
        parts.setdefault(part, {})[key] = _plain(getattr(recipe, field))
    return {
        "description": recipe.description,
        "resolution": recipe.resolution,
        **parts,
        "budgets": {
            # A time is not read without its unit.
            budget.name: f"{limit!r} s" if budget.quantity is Quantity.DURATION else limit
            for budget, limit in recipe.budgets.items()
        },
        "score": recipe.score.document(),
        "start": [_start_document(structure) for structure in recipe.start],
    }


def _plain(value: Any) -> Any:
    if value is None:
        return PROFILE_BITS
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Bits | BitsPer) else value


def _structure(start: _Start, table: _RecipeTable) -> Structure:
    stages = (
        Stage(
            out_channels=stage.channels,
            bottleneck_channels=stage.bottleneck,
            kernel=stage.kernel,
            stride=stride,
            blocks=tuple(Block(expand=one, depthwise=two, project=three) for one, two, three in stage.blocks),
        )
        for stage, stride in zip(start.stages, table.stages.strides, strict=True)
    )
    stem, head = table.stem, table.head
    return Structure(
        stem=Convolution(out_channels=start.stem_channels, kernel=stem.kernel, stride=stem.stride, bits=stem.bits),
        stages=tuple(stages),
        head=Convolution(out_channels=head.channels, kernel=1, stride=1, bits=start.head_bits),
        classifier=Classifier(classes=table.classifier.classes, bits=table.classifier.bits),
        resolution=table.resolution,
    )


def _start_document(structure: Structure) -> dict[str, Any]:
    return {
        "stem_channels": structure.stem.out_channels,
        "head_bits": str(structure.head.bits),
        "stages": [
            {
                "channels": stage.out_channels,
                "bottleneck": stage.bottleneck_channels,
                "kernel": stage.kernel,
                "blocks": [[str(bits) for bits in block.layers()] for block in stage.blocks],
            }
            for stage in structure.stages
        ],
    }
