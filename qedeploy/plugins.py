"""What others may add, found by its name: sub-packages of a room, and entry points of installed packages.

A room says what it takes; whoever adds something puts it there, and no other room has to name it.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qedeploy.errors import MissingRuntimeError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginGroup:
    """A kind of thing that can be added.

    `name` is the entry-point group, and the package whose sub-packages are the built-in ones; these call their object
    `attribute`.
    """

    name: str
    attribute: str

    def names(self) -> tuple[str, ...]:
        """Return all names: the built-in ones sorted, then those of installed packages, sorted."""
        built_in = _built_in(self.name, self.attribute)
        return (*built_in, *sorted(set(_entry_points(self.name, tuple(sys.path))) - set(built_in)))

    def find(self, name: str) -> Any | None:
        """Return the object under `name`, None where there is none; a built-in one comes before any other.

        Raises MissingRuntimeError where an installed package has it and does not load.
        """
        if name in _built_in(self.name, self.attribute):
            return getattr(importlib.import_module(f"{self.name}.{name}"), self.attribute)
        entry = _entry_points(self.name, tuple(sys.path)).get(name)
        if entry is None:
            return None
        try:
            return entry.load()
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            package = entry.dist.name if entry.dist is not None else entry.value
            raise MissingRuntimeError(
                f"{name}: the package {package} that brings it does not load ({reason}): mend or uninstall it"
            ) from error


@functools.cache
def _built_in(package: str, attribute: str) -> tuple[str, ...]:
    spec = importlib.util.find_spec(package)
    folders = spec.submodule_search_locations if spec is not None else None
    # Read and not imported: a sub-package without the object is what several of its neighbours share.
    found = {
        path.parent.name
        for folder in folders or ()
        for path in Path(folder).glob("*/__init__.py")
        if f"\n{attribute} = " in path.read_text(encoding="utf-8")
    }
    return tuple(sorted(found))


@functools.cache
def _entry_points(group: str, path: tuple[str, ...]) -> Mapping[str, EntryPoint]:
    """Return the entry points of the packages in `path`, which is sys.path: looking them through takes milliseconds."""
    from importlib.metadata import entry_points

    del path
    return {entry.name: entry for entry in entry_points(group=group)}


RUNTIMES = PluginGroup(name="qedeploy.runtimes", attribute="RUNTIME")
"""What executes an exported network: see runtimes/base.py."""
