"""Pictures as NumPy arrays in an .npz file, whole or in the parts that such files usually have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qedeploy.array_files import array_of, opened_arrays
from qedeploy.errors import UserError

_KEYS = {
    "all": (("images", "labels"), ("x", "y"), ("data", "target")),
    "train": (("train_images", "train_labels"), ("x_train", "y_train")),
    "test": (("test_images", "test_labels"), ("val_images", "val_labels"), ("x_test", "y_test"), ("x_val", "y_val")),
}
_EXPECTED = "expected images and labels, or x_train, y_train, x_test and y_test"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageArrays:
    """Pictures (count, height, width, 1 or 3) of bytes, and their labels."""

    location: Path
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    images: NDArray[np.uint8] = field(repr=False)
    part: str = "all"

    def name(self, index: int) -> str:
        """Return the file and the place of a picture in it."""
        return f"{self.location}[{index}]"

    def picture(self, index: int) -> NDArray[np.uint8]:
        """Return a picture as (height, width, 1 or 3)."""
        picture: NDArray[np.uint8] = self.images[index]
        return picture


def open_arrays(path: Path) -> dict[str, ImageArrays]:
    """Return the parts of an .npz file by name: `train` and `test`, or `all`.

    Images are bytes or floating point from 0 to 1, (count, height, width), with 1 or 3 channels behind or before height
    and width; labels whole numbers from 0; names may stand under `classes`. Raises UserError naming file and key.
    """
    with opened_arrays(path) as archive:
        return _parts(archive, path)


def _parts(archive: Mapping[str, NDArray[np.generic]], path: Path) -> dict[str, ImageArrays]:
    found: dict[str, tuple[NDArray[np.uint8], NDArray[np.int64]]] = {}
    for part, pairs in _KEYS.items():
        for images, labels in pairs:
            if images in archive and labels in archive:
                found[part] = _checked(
                    array_of(archive, images), array_of(archive, labels), f"{path}: {images}", f"{path}: {labels}"
                )
                break
    if not found:
        there = ", ".join(archive) or "nothing"
        raise UserError(f"{path}: {_EXPECTED}; found {there}")
    count = 1 + max(int(labels.max()) for _, labels in found.values())
    classes = _classes(archive, count, path)
    return {
        part: ImageArrays(location=path, classes=classes, labels=labels, images=images, part=part)
        for part, (images, labels) in found.items()
    }


def _classes(archive: Mapping[str, NDArray[np.generic]], count: int, path: Path) -> tuple[str, ...]:
    if "classes" not in archive:
        return tuple(map(str, range(count)))
    names = tuple(map(str, array_of(archive, "classes").reshape(-1).tolist()))
    if len(names) < count:
        raise UserError(f"{path}: classes: {len(names)} names for labels up to {count - 1}: name every class")
    return names


def _checked(
    images: NDArray[np.generic], labels: NDArray[np.generic], images_name: str, labels_name: str
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    pixels = _pixels(images, images_name)
    flat = labels.reshape(-1)
    if flat.dtype.kind not in "iu" or len(flat) != len(pixels):
        raise UserError(f"{labels_name}: expected {len(pixels)} whole numbers, found {flat.dtype} {labels.shape}")
    if len(flat) == 0:
        raise UserError(f"{images_name}: holds no pictures")
    if flat.min() < 0:
        raise UserError(f"{labels_name}: expected labels from 0, found {flat.min()}")
    return pixels, flat.astype(np.int64)


def _pixels(images: NDArray[np.generic], name: str) -> NDArray[np.uint8]:
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or not {1, 3} & {images.shape[1], images.shape[-1]}:
        raise UserError(f"{name}: expected (count, height, width) with 1 or 3 channels, found {images.shape}")
    if images.shape[-1] not in {1, 3}:
        images = np.moveaxis(images, 1, -1)
    if images.dtype == np.uint8:
        return np.ascontiguousarray(images, np.uint8)
    if images.dtype.kind == "f":
        values = np.asarray(images, np.float32)
        if np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1:
            return np.rint(values * 255).astype(np.uint8)
    raise UserError(
        f"{name}: expected bytes (uint8), or floating point from 0 to 1; found {images.dtype}"
        f"{_spread(images)}: scale them to 0..255 and store them as uint8"
    )


def _spread(images: NDArray[np.generic]) -> str:
    return f" from {images.min()} to {images.max()}" if images.size and images.dtype.kind in "iuf" else ""
