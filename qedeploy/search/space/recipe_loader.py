"""Recipes by name or path: the TOML files in the folder `recipes`, or one of the user's own."""

from __future__ import annotations

from pathlib import Path

from qedeploy import catalog
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

    path = catalog.find(name_or_path, FOLDER, "recipe")
    return recipe_from_document(read_toml(path), name=path.stem, source=path)
