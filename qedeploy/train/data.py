"""A folder or file of labelled pictures of any kind becomes images to train on, to choose by and to test on."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qedeploy.errors import UserError
from qedeploy.train.arrays import open_arrays
from qedeploy.train.class_folders import open_class_folders
from qedeploy.train.source import ImageSource
from qedeploy.train.tar_shards import open_tar_shards
from qedeploy.words import listed

_TRAIN = ("train", "training")
_TEST = ("val", "valid", "validation", "test", "testing")
_LARGEST_HOLDOUT = 10_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Subset:
    """Some pictures of a source: `places` are their numbers there, (count,)."""

    source: ImageSource
    places: NDArray[np.int64] = field(repr=False)

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.places)

    @property
    def labels(self) -> NDArray[np.int64]:
        """The labels of the pictures, (count,)."""
        labels: NDArray[np.int64] = self.source.labels[self.places]
        return labels


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelledData:
    """What a folder holds: pictures to train on, and pictures that it sets apart to test on, None where it has none."""

    train: ImageSource
    test: ImageSource | None


def open_data(path: Path) -> LabelledData:
    """Return the pictures of `path`: class folders, .tar shards or an .npz file, or a folder with train/ and val/.

    Raises UserError where there is nothing of the kind, naming what is wrong, also where the two parts have other
    classes.
    """
    parts = _parts(path)
    train = next((parts[name] for name in (*_TRAIN, "all") if name in parts), None)
    test = next((parts[name] for name in _TEST if name in parts), None)
    if train is None:
        raise UserError(f"{path}: has pictures to test on and none to train on: expected a part called train")
    if test is not None:
        _require_same_classes(train, test)
    _require_classes(train)
    return LabelledData(train=train, test=test)


def open_test_data(path: Path) -> ImageSource:
    """Return the pictures of `path` to test on: what it sets apart for that, or all there are."""
    parts = _parts(path)
    return next(parts[name] for name in (*_TEST, "all", *_TRAIN) if name in parts)


def split(source: ImageSource, share: float, seed: int) -> tuple[Subset, Subset]:
    """Return the pictures to train on and those held out to choose the best weights by, drawn by `seed`.

    `share` of them is held out, 10,000 at the most and one at the least.
    """
    count = len(source.labels)
    order = np.random.default_rng([seed, 0x5917]).permutation(count)
    held_out = min(max(1, round(count * share)), _LARGEST_HOLDOUT)
    if held_out >= count:
        raise UserError(f"{source.location}: {count} pictures are too few to hold some out: add more")
    return (
        Subset(source=source, places=np.sort(order[held_out:])),
        Subset(source=source, places=np.sort(order[:held_out])),
    )


def whole(source: ImageSource) -> Subset:
    """Return all pictures of a source."""
    return Subset(source=source, places=np.arange(len(source.labels)))


def class_places(source: ImageSource, classes: tuple[str, ...], outputs: int) -> NDArray[np.int64]:
    """Return for each class of `source` its place among the `outputs` of a network whose classes are called `classes`.

    Without names of the network, the source's own order counts and must fit. Raises UserError naming classes that the
    network does not know.
    """
    if not classes:
        if len(source.classes) != outputs:
            raise UserError(
                f"{source.location}: {len(source.classes)} classes ({listed(source.classes)}), and the network has "
                f"{outputs}: give data of as many classes, or search with --classes {len(source.classes)}"
            )
        return np.arange(outputs)
    places = {name: place for place, name in enumerate(classes)}
    unknown = [name for name in source.classes if name not in places]
    if unknown:
        raise UserError(
            f"{source.location}: the network has no class {listed(unknown)}: it was trained for {listed(classes)}: "
            "name class folders, or the `classes` of an .npz file, as in its training"
        )
    return np.asarray([places[name] for name in source.classes], np.int64)


def _parts(path: Path) -> dict[str, ImageSource]:
    if path.is_file():
        if path.suffix == ".npz":
            return dict(open_arrays(path))
        if path.suffix == ".tar":
            return {"all": open_tar_shards(path, [path])}
        raise UserError(f"{path}: expected a folder of class folders, .tar shards or an .npz file")
    if not path.is_dir():
        raise UserError(f"{path}: no such folder: expected one with a folder of pictures for each class")
    found = {name: part for name in (*_TRAIN, *_TEST) if (part := _part(path, name)) is not None}
    if found:
        return found
    return {"all": _folder(path)}


def _part(path: Path, name: str) -> ImageSource | None:
    """Return what a folder holds under a part's name: a folder, an .npz file, or shards that begin with it."""
    if (path / name).is_dir():
        return _folder(path / name)
    if (path / f"{name}.npz").is_file():
        parts = open_arrays(path / f"{name}.npz")
        return parts.get("all") or next(iter(parts.values()))
    shards = sorted(path.glob(f"{name}*.tar"))
    return open_tar_shards(path, shards) if shards else None


def _folder(path: Path) -> ImageSource:
    shards = sorted(path.glob("*.tar"))
    if shards:
        return open_tar_shards(path, shards)
    files = sorted(path.glob("*.npz"))
    if len(files) == 1:
        parts = open_arrays(files[0])
        return parts.get("all") or next(iter(parts.values()))
    return open_class_folders(path)


def _require_classes(source: ImageSource) -> None:
    if len(source.classes) < 2:
        raise UserError(
            f"{source.location}: one class ({listed(source.classes)}), there is nothing to tell apart: expected two "
            "or more class folders"
        )
    missing = sorted(set(range(len(source.classes))) - set(source.labels.tolist()))
    if missing:
        names = [source.classes[place] for place in missing]
        raise UserError(f"{source.location}: no pictures of {listed(names)}: expected some of every class")


def _require_same_classes(train: ImageSource, test: ImageSource) -> None:
    unknown = [name for name in test.classes if name not in train.classes]
    if unknown:
        raise UserError(
            f"{test.location}: classes that {train.location} lacks: {listed(unknown)}: both need the same class names"
        )
