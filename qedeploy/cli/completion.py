"""What a shell offers behind the Tab key: names of profiles, recipes and published models, without loading any.

A path is completed by the shell itself, so that nothing is offered for one.
"""

from __future__ import annotations

from collections.abc import Iterable


def profiles(incomplete: str) -> list[str]:
    """Return the names of profiles that begin so."""
    from qedeploy.profiles.loader import profile_names

    return _begun(profile_names(), incomplete)


def recipes(incomplete: str) -> list[str]:
    """Return the names of search recipes that begin so."""
    from qedeploy.search.space.recipe_loader import recipe_names

    return _begun(recipe_names(), incomplete)


def trainings(incomplete: str) -> list[str]:
    """Return the names of training recipes that begin so."""
    from qedeploy.train.recipe import recipe_names

    return _begun(recipe_names(), incomplete)


def models(incomplete: str) -> list[str]:
    """Return the names of published models that begin so, in whatever case."""
    from qedeploy.network.published import published_models

    return _begun((model.name for model in published_models()), incomplete)


def _begun(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.lower().startswith(incomplete.lower())]
