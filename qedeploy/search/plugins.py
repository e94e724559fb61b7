"""Things found by name: those in a folder of the package, those that a program adds, those of installed packages."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pkgutil import iter_modules
from typing import Generic, Protocol, TypeVar

from qedeploy.errors import UserError


class Named(Protocol):
    """What has a name."""

    @property
    def name(self) -> str:
        """By which it is found."""


Item = TypeVar("Item", bound=Named)


@dataclass(slots=True, kw_only=True)
class Registry(Generic[Item]):
    """Items by name: what the modules of `package` define, what `add` brings, what the entry points of `group` load.

    A module's items are those of its own values that `kind` accepts, in the order of its lines. Entry points are looked
    at only for a name that is not known otherwise: reading what every installed package offers takes its time.
    """

    what: str
    package: str
    group: str
    kind: Callable[[object], bool]
    _found: dict[str, Item] = field(default_factory=dict)
    _looked: bool = False

    def add(self, item: Item) -> None:
        """Let `item` be found; raises UserError where its name is taken by another one."""
        if self._all().setdefault(item.name, item) != item:
            raise UserError(f"{self.what} {item.name}: expected a name of its own, found one that is taken")

    def remove(self, name: str) -> None:
        """Let the item of a name, which `add` brought, not be found any longer."""
        del self._all()[name]

    def get(self, name: str) -> Item:
        """Return the item of a name; raises UserError naming those there are."""
        found = self._all()
        if name not in found:
            self._load_entry_points()
        if name not in found:
            close = difflib.get_close_matches(name, list(found), n=1)
            hint = f" (did you mean {close[0]}?)" if close else ""
            raise UserError(f"{self.what} {name!r}{hint}: expected one of {', '.join(found)}")
        return found[name]

    def names(self) -> tuple[str, ...]:
        """Return all names but those of other packages that nobody has asked for."""
        return tuple(self._all())

    def __iter__(self) -> Iterator[Item]:
        """Iterate over the items of `names`."""
        return iter(self._all().values())

    def _all(self) -> dict[str, Item]:
        if not self._looked:
            self._looked = True
            folder = import_module(self.package)
            for module in sorted(found.name for found in iter_modules(folder.__path__)):
                values = vars(import_module(f"{self.package}.{module}")).values()
                for item in values:
                    if self.kind(item) and item.name not in self._found:
                        self._found[item.name] = item
        return self._found

    def _load_entry_points(self) -> None:
        from importlib.metadata import entry_points

        for point in entry_points(group=self.group):
            self.add(point.load())
