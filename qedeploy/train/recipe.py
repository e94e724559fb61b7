"""How a network is trained: the field's recipe, each number of it a setting with a name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar

from qedeploy import catalog
from qedeploy.errors import UserError
from qedeploy.schema import read_toml

FOLDER = Path(__file__).parent / "recipes"

_STRICT: dict[str, Any] = {"extra": "forbid"}
"""How a file's data becomes these classes (read by pydantic, which this module does not import)."""


class Crop(StrEnum):
    """How training pictures are cut: a random part resized, the whole shifted within a padding, or the centre."""

    RESIZED = "resized"
    PADDED = "padded"
    NONE = "none"


class Optimizer(StrEnum):
    """What takes the steps: gradient descent with Nesterov's momentum, or Adam with decoupled weight decay."""

    SGD = "sgd"
    ADAMW = "adamw"


class Start(StrEnum):
    """What quantization-aware training starts from."""

    AUTO = "auto"
    FLOAT = "float"
    SCRATCH = "scratch"


class Pixels(StrEnum):
    """What pixels are normalised by: ImageNet's mean and deviation, or those of the training images."""

    IMAGENET = "imagenet"
    DATA = "data"


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """What is done to training pictures.

    `crop_scale` are the least and the largest share of a picture's area of a resized crop, `crop_padding` the pixels of
    a padded one. `flip` is the probability of a mirror image, `randaugment` how many operations of `magnitude` (0 to
    10) a picture goes through. `mixup` is the alpha of the beta distribution that shares are drawn from, 0 for none.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    crop: Crop = Crop.PADDED
    crop_scale: tuple[float, float] = (0.2, 1.0)
    crop_padding: int = 2
    flip: float = 0.5
    randaugment: int = 0
    magnitude: float = 5.0
    mixup: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRecipe:
    """Settings of a training. Rates are those of a batch of `batch` images; epochs count whole passes over the data.

    `float_epochs` train the float network first where `start` says so, at `float_rate`, and `epochs` the quantized one.
    Of `warm_up_epochs` the rate grows from nearly nothing; after them it falls to zero as a cosine. Weight decay spares
    normalisations, biases and steps. `ema` is the decay of the averaged weights, 0 for none, `clip` the largest norm
    of a gradient, 0 for any. `crop_share` is how much of the shorter side the evaluation's centre crop keeps, `holdout`
    the share of the training images that chooses the best weights. `distill_weight` is the teacher's share of the loss.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    name: str = "quick"
    description: str = ""
    start: Start = Start.AUTO
    epochs: float = 10.0
    float_epochs: float = 10.0
    batch: int = 128
    optimizer: Optimizer = Optimizer.SGD
    rate: float = 0.05
    float_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-4
    warm_up_epochs: float = 0.5
    label_smoothing: float = 0.0
    ema: float = 0.0
    clip: float = 0.0
    distill_weight: float = 0.5
    crop_share: float = 1.0
    pixels: Pixels = Pixels.DATA
    holdout: float = 0.05
    augmentation: Augmentation = Augmentation()

    def __post_init__(self) -> None:
        for field, (low, high) in _BOUNDS.items():
            _require(field, getattr(self, field), low, high)
        for field, (low, high) in _AUGMENTATION_BOUNDS.items():
            _require(f"augmentation.{field}", getattr(self.augmentation, field), low, high)
        small, large = self.augmentation.crop_scale
        if not 0 < small <= large <= 1:
            raise UserError(f"augmentation.crop_scale: expected shares from 0 to 1 in order, found {small}, {large}")


_FEW, _LARGE = 10_000, 200_000
"""Pictures below which the recipe for small data is the usual one, and from which on the one for ImageNet is."""

_BOUNDS: Mapping[str, tuple[float, float]] = {
    "epochs": (0, 100_000),
    "float_epochs": (0, 100_000),
    "batch": (1, 1 << 20),
    "rate": (1e-8, 1e3),
    "float_rate": (1e-8, 1e3),
    "momentum": (0, 0.9999),
    "weight_decay": (0, 10),
    "warm_up_epochs": (0, 100_000),
    "label_smoothing": (0, 0.99),
    "ema": (0, 0.999999),
    "clip": (0, 1e6),
    "distill_weight": (0, 1),
    "crop_share": (0.1, 1),
    "holdout": (1e-4, 0.5),
}
_AUGMENTATION_BOUNDS: Mapping[str, tuple[float, float]] = {
    "crop_padding": (0, 1024),
    "flip": (0, 1),
    "randaugment": (0, 14),
    "magnitude": (0, 10),
    "mixup": (0, 100),
}


def recipe_names() -> tuple[str, ...]:
    """Return the names of the training recipes that ship with qedeploy, sorted."""
    return catalog.names(FOLDER)


def load_recipe(name_or_path: str) -> TrainingRecipe:
    """Return a shipped recipe by its name, or a user's TOML file by its path; settings left out are `quick`'s.

    Raises UserError where there is no such recipe, or naming every fault of the file.
    """
    from pydantic import TypeAdapter

    from qedeploy.schema import validate

    path = catalog.find(name_or_path, FOLDER, "training recipe")
    document = read_toml(path)
    if "name" in document:
        raise UserError(f"{path}: name: a recipe is named after its file, take the key out")
    try:
        return validate(TypeAdapter(TrainingRecipe), {**document, "name": path.stem}, path)
    except UserError as error:
        raise error if str(path) in str(error) else UserError(f"{path}: {error}") from error


def choose_recipe(name_or_path: str | None, count_pictures: Callable[[], int]) -> TrainingRecipe:
    """Return the recipe that is named, or for None the one for so many pictures."""
    if name_or_path:
        return load_recipe(name_or_path)
    count = count_pictures()
    return load_recipe("small" if count < _FEW else "quick" if count < _LARGE else "imagenet-240")


def with_changes(recipe: TrainingRecipe, changes: Mapping[str, object]) -> TrainingRecipe:
    """Return `recipe` with the changes that are not None; keys of the augmentation go there."""
    given = {key: value for key, value in changes.items() if value is not None}
    inner = {key: given.pop(key) for key in list(given) if key in _AUGMENTATION}
    for key, kind in (("optimizer", Optimizer), ("crop", Crop)):
        chosen = given if key in given else inner
        if key in chosen:
            try:
                chosen[key] = kind(str(chosen[key]))
            except ValueError as error:
                raise UserError(f"--{key}: expected one of {', '.join(kind)}, found {chosen[key]!r}") from error
    augmentation: Any = dataclasses.replace(recipe.augmentation, **inner)  # type: ignore[arg-type]
    return dataclasses.replace(recipe, augmentation=augmentation, **given)  # type: ignore[arg-type]


_AUGMENTATION = frozenset(field.name for field in dataclasses.fields(Augmentation))


def _require(field: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise UserError(f"{field}: expected {low:g} to {high:g}, found {value:g}")
