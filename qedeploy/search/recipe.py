"""A Recipe: a search space before a device narrows it, with budgets, score settings and where to start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qedeploy import catalog
from qedeploy.network.structure import Bits, Structure
from qedeploy.schema import read_toml
from qedeploy.search.score import ScoreSettings
from qedeploy.search.space import BitsPer, BudgetKind

FOLDER = Path(__file__).parent / "recipes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What to choose from and what to stay under.

    Channels are multiples of 8. `depths` lists, per stage, how many blocks it may have. `bits` and `head_bits` are the
    pairs to choose from; None stands for the pairs that the profile executes natively. `budgets` are in base units
    (operations, bytes, layers). `start` are the structures evolution begins with, as the reference does: their widths
    need not be in the space.
    """

    name: str
    description: str
    resolution: int
    stem_channels: tuple[int, ...]
    stem_kernel: int
    stem_stride: int
    stem_bits: Bits
    strides: tuple[int, ...]
    channels: tuple[int, ...]
    kernels: tuple[int, ...]
    ratios: tuple[float, ...]
    depths: tuple[tuple[int, ...], ...]
    bits: tuple[Bits, ...] | None
    bits_per: BitsPer
    head_channels: int
    head_bits: tuple[Bits, ...] | None
    classes: int
    classifier_bits: Bits
    budgets: Mapping[BudgetKind, float]
    score: ScoreSettings
    start: tuple[Structure, ...]


def recipe_names() -> tuple[str, ...]:
    """Return the names of the recipes that ship with qedeploy, sorted."""
    return catalog.names(FOLDER)


def load_recipe(name_or_path: str) -> Recipe:
    """Return a shipped recipe by its name, or a user's TOML file by its path (a separator or .toml in it).

    A recipe is named after its file. Raises UserError where there is no such recipe, or naming every fault of the file.
    """
    from qedeploy.search.recipe_file import recipe_from_document

    path = catalog.find(name_or_path, FOLDER, "recipe")
    return recipe_from_document(read_toml(path), name=path.stem, source=path)


def recipe_document(recipe: Recipe) -> dict[str, Any]:
    """Return `recipe` as JSON-ready data in the form of its TOML file, every default written out.

    `recipe_file.recipe_from_document` reads it back to an equal Recipe.
    """
    from qedeploy.search.recipe_file import recipe_to_document

    return recipe_to_document(recipe)
