"""Recipes by name or path: the TOML files in the folder `recipes`, or one of the user's own."""

from __future__ import annotations

from pathlib import Path

from qedeploy import catalog
from qedeploy.errors import UserError
from qedeploy.schema import read_toml
from qedeploy.search.space.recipe import Recipe

FOLDER = Path(__file__).parent.parent / "recipes"


def recipe_names() -> tuple[str, ...]:
    """Return the names of the recipes that ship with qedeploy, sorted."""
    return catalog.names(FOLDER)


def load_recipe(name_or_path: str) -> Recipe:
    """Return a shipped recipe by its name, or a user's TOML file by its path (a separator or .toml in it).

    A recipe is named after its file. Raises UserError where there is no such recipe, or naming every fault of the file.
    """
    from qedeploy.search.space.recipe_file import recipe_from_document

    _require_no_config(name_or_path)
    path = catalog.find(name_or_path, FOLDER, "recipe")
    return recipe_from_document(read_toml(path), name=path.stem, source=path)


def _require_no_config(name_or_path: str) -> None:
    if not name_or_path.endswith(".py"):
        return
    close = catalog.closest(Path(name_or_path).name, recipe_names())
    hint = f"--recipe {close[0]} is the search of that name" if close else "write its space and budgets as a recipe"
    raise UserError(f"{name_or_path}: a configuration of LightNAS's, expected a recipe (TOML): {hint}")
