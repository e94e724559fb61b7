"""Checkpoints of a search: an archive of arrays, with the settings of the search it belongs to."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qedeploy.errors import UserError
from qedeploy.files import require_file, write_with
from qedeploy.search.evolution.evolution import Evolution, Members, State

_LARGEST = 1 << 30
"""Bytes of all arrays: a population of a million has 200 MB."""

_ARRAYS = {"genes": np.int16, "score": np.float64, "excess": np.float64, "keys": np.uint64}


@dataclass(frozen=True, slots=True, kw_only=True)
class StateFile:
    """Where a search with these `settings` (JSON-ready) saves its state and finds it again."""

    path: Path
    settings: Mapping[str, Any]

    def save(self, state: State) -> None:
        """Write `state` whole or not at all; raises UserError if the folder or disk refuses it."""
        members = {name: getattr(state.members, name) for name in _ARRAYS}
        counts = np.array([state.generation, state.evaluations], np.int64)
        settings = np.array(json.dumps(self.settings))

        def write(temporary: Path) -> None:
            with temporary.open("wb") as stream:
                np.savez(stream, counts=counts, settings=settings, **members)

        write_with(self.path, write)

    def load(self, evolution: Evolution) -> State | None:
        """Return the state that was saved, or None where there is none.

        Raises UserError for a file that is no checkpoint, a damaged one, and one of a search with other settings.
        """
        try:
            if not self.path.exists():
                return None
            require_file(self.path)
            self._require_size()
            with np.load(self.path, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in ("counts", "settings", *_ARRAYS)}
            settings = json.loads(str(arrays["settings"]))
        except UserError:
            raise
        except (
            Exception
        ) as error:  # A strange archive makes NumPy and zipfile raise a dozen kinds, all of which mean this.
            raise self._damaged(" ".join(str(error).split())) from error
        if not all(isinstance(array, np.ndarray) for array in arrays.values()):
            raise self._damaged("it holds something other than arrays")
        if not isinstance(settings, dict):
            raise self._damaged("it has no settings")
        self._require_same(settings)
        return self._state(arrays, evolution)

    def _require_size(self) -> None:
        """Raise UserError for an archive that unpacks to more than any search leaves; it is read from its directory."""
        with zipfile.ZipFile(self.path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > _LARGEST:
            raise self._damaged(f"expected at most {_LARGEST:,} bytes in it, found {size:,}")

    def remove(self) -> None:
        """Delete the file, if there is one."""
        self.path.unlink(missing_ok=True)

    def _state(self, arrays: Mapping[str, Any], evolution: Evolution) -> State:
        genes, count = arrays["genes"], arrays["score"].size
        shapes = {"genes": (evolution.coding.genes, count), "score": (count,), "excess": (count,), "keys": (count,)}
        for name, kind in _ARRAYS.items():
            if arrays[name].dtype != kind or arrays[name].shape != shapes[name]:
                raise self._damaged(f"{name} has another form")
        if arrays["counts"].shape != (2,) or arrays["counts"].dtype != np.int64 or count == 0:
            raise self._damaged("it holds no state")
        if (genes < 0).any() or (genes >= evolution.coding.limits()[:, None]).any():
            raise self._damaged("a structure lies outside the space")
        members = Members(genes=genes, score=arrays["score"], excess=arrays["excess"], keys=arrays["keys"])
        generation, evaluations = arrays["counts"].tolist()
        if generation < 0 or evaluations < 0 or np.isnan(arrays["score"]).any() or np.isnan(arrays["excess"]).any():
            raise self._damaged("a count is negative, or a score no number")
        return State(generation=generation, evaluations=evaluations, members=members)

    def _require_same(self, found: Mapping[str, Any]) -> None:
        expected = json.loads(json.dumps(self.settings))
        if found != expected:
            raise UserError(
                f"{self.path}: belongs to an unfinished search with {'; '.join(_differences(found, expected)[:3])}; "
                f"repeat that command to finish it, delete the file, or choose another --out"
            )

    def _damaged(self, reason: str) -> UserError:
        return UserError(f"{self.path}: cannot be read as a checkpoint ({reason}); delete it to start afresh")


def _differences(found: Any, expected: Any, where: str = "") -> list[str]:
    """Return a phrase for each value that differs, named by its path."""
    if isinstance(found, dict) and isinstance(expected, dict):
        keys = sorted({*found, *expected}, key=str)
        return [
            phrase
            for key in keys
            for phrase in _differences(found.get(key), expected.get(key), f"{where}.{key}" if where else str(key))
        ]
    return [] if found == expected else [f"{where} {found} instead of {expected}"]
