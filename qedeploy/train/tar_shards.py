"""WebDataset shards: plain .tar files in which a picture and its label share a name before the first dot."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qedeploy.errors import UserError
from qedeploy.qdq.images import EXTENSIONS
from qedeploy.train.pictures import decode_picture
from qedeploy.train.source import CorruptImageError

_NAMES = ("classes.txt", "classnames.txt")
_LABELS = (".cls", ".cls.txt")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Member:
    """Where a picture's bytes are in which shard."""

    shard: int
    offset: int
    size: int
    name: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TarShards:
    """Pictures in shards that were read through once to find them: each is then read on its own, in any order."""

    location: Path
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    shards: tuple[Path, ...]
    members: tuple[_Member, ...] = field(repr=False)

    def name(self, index: int) -> str:
        """Return the shard and the picture's name in it."""
        member = self.members[index]
        return f"{self.shards[member.shard]}:{member.name}"

    def picture(self, index: int) -> NDArray[np.uint8]:
        """Return a picture as (height, width, 1 or 3); raises CorruptImageError."""
        member = self.members[index]
        try:
            handle = os.open(self.shards[member.shard], os.O_RDONLY)
            try:
                content = os.pread(handle, member.size, member.offset)
            finally:
                os.close(handle)
        except OSError as error:
            raise CorruptImageError(f"{self.name(index)}: cannot be read: {error.strerror or error}") from error
        return decode_picture(content, self.name(index))


def open_tar_shards(location: Path, shards: Sequence[Path]) -> TarShards:
    """Return the pictures of `shards`; labels are `NAME.cls` (a number or a class's name) or `NAME.json` with `label`.

    Classes are called after `classes.txt` beside the shards (a name on each line), or else after their labels. Raises
    UserError naming the shard that is damaged, or a picture without a label.
    """
    members: list[_Member] = []
    found: list[str] = []
    for number, path in enumerate(shards):
        for member, label in _read_shard(number, path):
            members.append(member)
            found.append(label)
    if not members:
        raise UserError(f"{location}: no pictures in {len(shards)} shards: expected NAME.jpg beside NAME.cls")
    classes, labels = _numbered(found, location if location.is_dir() else location.parent)
    return TarShards(location=location, classes=classes, labels=labels, shards=tuple(shards), members=tuple(members))


def _read_shard(number: int, path: Path) -> Iterator[tuple[_Member, str]]:
    pictures: dict[str, _Member] = {}
    labels: dict[str, str] = {}
    try:
        with tarfile.open(path, mode="r:") as archive:
            for entry in archive:
                folder, _, base = entry.name.rpartition("/")
                if not entry.isfile() or base.startswith("."):
                    continue
                key, _, suffix = base.partition(".")
                key, suffix = f"{folder}/{key}", f".{suffix.lower()}"
                if suffix in EXTENSIONS:
                    pictures[key] = _Member(shard=number, offset=entry.offset_data, size=entry.size, name=entry.name)
                elif suffix in _LABELS or (suffix == ".json" and key not in labels):
                    stream = archive.extractfile(entry)
                    text = stream.read().decode("utf-8", "replace").strip() if stream is not None else ""
                    labels[key] = text if suffix in _LABELS else _json_label(text, f"{path}:{entry.name}")
    except (tarfile.TarError, OSError, EOFError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"{path}: damaged, or not an uncompressed .tar file ({reason}): write or copy it again"
        ) from error
    for key, member in pictures.items():
        if not labels.get(key):
            raise UserError(f"{path}:{member.name}: no label beside it: expected {key.lstrip('/')}.cls or .json")
        yield member, labels[key]


def _json_label(text: str, source: str) -> str:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise UserError(f"{source}: not valid JSON: {error}") from error
    label = document.get("label") if isinstance(document, dict) else None
    return "" if label is None else str(label)


def _numbered(found: list[str], folder: Path) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Return the names of classes and the labels as places among them."""
    whole = all(label.isascii() and label.isdigit() for label in found)
    listing = next((folder / name for name in _NAMES if (folder / name).is_file()), None)
    if listing is not None:
        names = tuple(listing.read_text("utf-8", "replace").split("\n"))
        names = tuple(name.strip() for name in names if name.strip())
    elif whole:
        names = tuple(map(str, range(1 + max(map(int, found)))))
    else:
        names = tuple(sorted(set(found)))
    places = {name: place for place, name in enumerate(names)}
    labels = []
    for label in found:
        place = int(label) if whole else places.get(label, -1)
        if not 0 <= place < len(names):
            raise UserError(f"{listing or folder}: label {label!r} of a picture is none of the {len(names)} classes")
        labels.append(place)
    return names, np.asarray(labels, np.int64)
