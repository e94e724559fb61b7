"""Pictures in a folder for each class, however deep inside it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qedeploy.errors import UserError
from qedeploy.qdq.images import EXTENSIONS
from qedeploy.train.pictures import decode_picture
from qedeploy.words import listed


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClassFolders:
    """A folder of class folders; classes are sorted by name."""

    location: Path
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    files: tuple[Path, ...] = field(repr=False)

    def name(self, index: int) -> str:
        """Return the path of a picture."""
        return str(self.files[index])

    def picture(self, index: int) -> NDArray[np.uint8]:
        """Return a picture as (height, width, 1 or 3); raises CorruptImageError."""
        return decode_picture(self.files[index], self.name(index))


def open_class_folders(folder: Path) -> ClassFolders:
    """Return the pictures of `folder`; raises UserError where it has no class folders or a class has no picture."""
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not names:
        raise UserError(
            f"{folder}: expected a folder for each class with its pictures, .tar shards or .npz arrays: found none"
        )
    files: list[Path] = []
    labels: list[int] = []
    empty = []
    for label, name in enumerate(names):
        found = sorted(path for path in (folder / name).rglob("*") if _is_picture(path))
        if not found:
            empty.append(name)
        files.extend(found)
        labels.extend([label] * len(found))
    if empty:
        raise UserError(
            f"{folder}: no pictures in {listed(empty)}: fill or remove the folder (pictures end in "
            f"{listed(sorted(EXTENSIONS), most=4)})"
        )
    return ClassFolders(location=folder, classes=tuple(names), labels=np.asarray(labels, np.int64), files=tuple(files))


def _is_picture(path: Path) -> bool:
    # Names that start with a dot are what file managers leave behind, macOS one for every picture on some disks.
    return path.suffix.lower() in EXTENSIONS and not path.name.startswith(".") and path.is_file()
