"""What others may add, found by its name: sub-packages of a room, and entry points of installed packages.

A room says what it takes; whoever adds something puts it there, and no other room has to name it.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qedeploy.errors import MissingRuntimeError


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A kind of thing that can be added.

    `name` is the entry-point group, and the package whose sub-packages are the built-in ones; these call their object
    `attribute`.
    """

    name: str
    attribute: str

    def names(self) -> tuple[str, ...]:
        """Return all names: the built-in ones sorted, then those of installed packages, sorted."""
        built_in = self._built_in()
        return (*built_in, *sorted(set(self._entry_points()) - set(built_in)))

    def find(self, name: str) -> Any | None:
        """Return the object under `name`, None where there is none; a built-in one comes before any other.

        Raises MissingRuntimeError where an installed package has it and does not load.
        """
        if name in self._built_in():
            return getattr(importlib.import_module(f"{self.name}.{name}"), self.attribute)
        entry = self._entry_points().get(name)
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

    def _built_in(self) -> tuple[str, ...]:
        spec = importlib.util.find_spec(self.name)
        folders = spec.submodule_search_locations if spec is not None else None
        found = {path.parent.name for folder in folders or () for path in Path(folder).glob("*/__init__.py")}
        return tuple(sorted(found))

    def _entry_points(self) -> dict[str, Any]:
        from importlib.metadata import entry_points

        return {entry.name: entry for entry in entry_points(group=self.name)}


RUNTIMES = Group(name="qedeploy.runtimes", attribute="RUNTIME")
"""What executes an exported network: see runtimes/base.py."""
