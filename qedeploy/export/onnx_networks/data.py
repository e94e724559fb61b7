"""What a network is calibrated and judged on: a folder of images, or arrays of its inputs in .npy and .npz files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qedeploy.array_files import array_of, opened_arrays
from qedeploy.errors import UserError
from qedeploy.files import LARGEST_FILE
from qedeploy.model.image_settings import ImageSettings
from qedeploy.qdq.images import EXTENSIONS, decode_image
from qedeploy.runtimes.turns import Feed

ARRAYS = frozenset({".npy", ".npz"})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """One query's inputs by name, each with its batch, and the file that they come from."""

    feed: Feed
    source: Path


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InMemory:
    """Samples that are in no file."""

    samples: tuple[Sample, ...]

    def __str__(self) -> str:
        return "in memory"


def load_samples(
    folder: Path, inputs: Mapping[str, tuple[int, ...]], limit: int, settings: ImageSettings
) -> tuple[Sample, ...]:
    """Return up to `limit` samples of `folder`, or of the one file it is, evenly spread over what is there.

    `inputs` are the shapes of the network's inputs. An array file holds one sample, or many along its first axis.
    Raises UserError for a folder without either kind of file, and for files of another shape or that cannot be read.
    """
    files = _files(folder)
    chosen = [files[index] for index in _spread(len(files), limit)]
    if files[0].suffix.lower() in ARRAYS:
        samples = [sample for path in chosen for sample in _arrays(path, inputs)]
        return tuple(samples[index] for index in _spread(len(samples), limit))
    name, shape = _image_input(folder, inputs)
    return tuple(Sample(feed={name: _image(path, shape, settings)}, source=path) for path in chosen)


def _files(folder: Path) -> list[Path]:
    known = EXTENSIONS | ARRAYS
    if folder.is_file() and folder.suffix.lower() in known:
        return [folder]
    if not folder.is_dir():
        raise UserError(f"{folder}: expected a folder of images or of .npy and .npz arrays for --data")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in known and path.is_file())
    found = [path for path in found if not path.name.startswith(".")]
    kinds = {path.suffix.lower() in ARRAYS for path in found}
    if not found:
        raise UserError(f"{folder}: holds no images and no .npy or .npz arrays, also not in its folders")
    if len(kinds) > 1:
        raise UserError(f"{folder}: holds both images and arrays: expected one kind, put the other elsewhere")
    return found


def _spread(count: int, limit: int) -> list[int]:
    return [int(index) for index in np.linspace(0, count - 1, min(limit, count)).round()]


def _image_input(folder: Path, inputs: Mapping[str, tuple[int, ...]]) -> tuple[str, tuple[int, ...]]:
    name, shape = next(iter(inputs.items()))
    if len(inputs) != 1 or len(shape) != 4 or shape[0] != 1 or shape[1] not in {1, 3}:
        shown = ", ".join(f"{name}: {'x'.join(map(str, shape))}" for name, shape in inputs.items())
        raise UserError(
            f"{folder}: the network takes {shown}: images serve one input of batch 1 with 1 or 3 channels; expected "
            "arrays (.npz with a name for each input) in --data"
        )
    return name, shape


def _image(path: Path, shape: tuple[int, ...], settings: ImageSettings) -> NDArray[np.float32]:
    """Return an image squeezed to the size of the input, normalised, (1, channels, height, width)."""
    from PIL import Image

    channels, height, width = shape[1:]
    picture = Image.fromarray(decode_image(path))
    if channels == 1:
        picture = picture.convert("L")
    resized = picture.resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(resized, np.float32).reshape(height, width, channels) / 255
    mean, deviation = (np.asarray(values, np.float32) for values in settings.per_channel(channels))
    return np.ascontiguousarray(((pixels - mean) / deviation).transpose(2, 0, 1)[None])


def _arrays(path: Path, inputs: Mapping[str, tuple[int, ...]]) -> list[Sample]:
    with opened_arrays(path, LARGEST_FILE) as found:
        # An .npy file has one array, of no name.
        arrays = {name or next(iter(inputs)): array_of(found, name) for name in found}
    if path.suffix.lower() == ".npy" and len(inputs) != 1:
        raise UserError(f"{path}: the network takes {', '.join(inputs)}: expected .npz files with these names")
    missing = [name for name in inputs if name not in arrays]
    if missing:
        raise UserError(f"{path}: has no array for input {', '.join(missing)}: found {', '.join(arrays) or 'none'}")
    split = {name: _batches(path, name, arrays[name], shape) for name, shape in inputs.items()}
    counts = {name: len(parts) for name, parts in split.items()}
    if len(set(counts.values())) > 1:
        raise UserError(f"{path}: expected as many samples for each input, found {counts}")
    return [
        Sample(feed={name: parts[index] for name, parts in split.items()}, source=path)
        for index in range(next(iter(counts.values())))
    ]


def _batches(path: Path, name: str, array: NDArray[Any], shape: tuple[int, ...]) -> list[NDArray[Any]]:
    """Return `array` cut along its first axis into arrays of `shape`; one without a batch gets a batch of 1."""
    if array.shape == shape[1:] and shape[:1] == (1,):
        array = array[None]
    if not shape:
        fits = array.shape == ()
    else:
        fits = (
            array.shape[1:] == shape[1:] and array.ndim == len(shape) and len(array) % shape[0] == 0 and len(array) > 0
        )
    if not fits:
        expected, found = "x".join(map(str, shape)), "x".join(map(str, array.shape))
        raise UserError(
            f"{path}: array {name!r} is {found or 'a scalar'}: expected {expected or 'a scalar'}, or more along the "
            "first axis"
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise UserError(f"{path}: array {name!r} holds NaN or infinity: mend or remove it")
    if not shape:
        return [array]
    return [np.ascontiguousarray(array[start : start + shape[0]]) for start in range(0, len(array), shape[0])]
