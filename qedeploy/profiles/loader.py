"""Profiles by name or path: the TOML files beside this module, or one of the user's own."""

from __future__ import annotations

from pathlib import Path

from qedeploy import catalog
from qedeploy.profiles.profile import Profile
from qedeploy.schema import read_toml

FOLDER = Path(__file__).parent


def profile_names() -> tuple[str, ...]:
    """Return the names of the profiles that ship with qedeploy, sorted."""
    return catalog.names(FOLDER)


def profile_path(name_or_path: str) -> Path:
    """Return the TOML file that a profile's name or path stands for; raises UserError where there is none."""
    return catalog.find(name_or_path, FOLDER, "profile")


def load_profile(name_or_path: str) -> Profile:
    """Return a shipped profile by its name, or a user's TOML file by its path (a separator or .toml in it).

    A profile is named after its file. Raises UserError where there is no such profile, or naming every fault of the
    file: keys, units, and bit pairs that the runtime cannot execute.
    """
    from qedeploy.profiles.profile_file import profile_from_document

    path = profile_path(name_or_path)
    return profile_from_document(read_toml(path), name=path.stem, source=path)
