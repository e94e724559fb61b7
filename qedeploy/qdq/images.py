"""Images for calibration and verification: read from a folder, or drawn at random."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from qedeploy.errors import UserError
from qedeploy.network.structure import Structure

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
_CROP_SHARE = 0.875
"""Share of the shorter side that the centre crop keeps: 224 of 256, the usual evaluation of ImageNet models."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Normalisation:
    """What is subtracted from and divided by, per RGB channel, after scaling to 0..1; ImageNet's by default."""

    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    deviation: tuple[float, float, float] = (0.229, 0.224, 0.225)


def parse_normalisation(mean: str, deviation: str) -> Normalisation:
    """Return the normalisation of two texts of three numbers each; raises UserError where they are none."""
    return Normalisation(mean=_three("mean", mean, -1e6), deviation=_three("deviation", deviation, 1e-6))


def find_images(folder: Path, limit: int) -> list[Path]:
    """Return up to `limit` image files under `folder`, evenly spread over the sorted list of all of them.

    Raises UserError where the folder cannot be read or holds no image.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: expected a folder of images for --calibrate, or the word random")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in EXTENSIONS and path.is_file())
    if not found:
        raise UserError(f"{folder}: holds no images ({', '.join(sorted(EXTENSIONS))}), also not in its folders")
    chosen = np.linspace(0, len(found) - 1, min(limit, len(found))).round().astype(int)
    return [found[index] for index in chosen]


def load_images(folder: Path, structure: Structure, limit: int, normalisation: Normalisation) -> Tensor:
    """Return up to `limit` images of `folder` as (count, channels, resolution, resolution), normalised.

    The shorter side is resized to resolution / 0.875, then the centre is cut out. Raises UserError naming the first
    file that cannot be read as an image.
    """
    if structure.input_channels not in {1, 3}:
        raise UserError(
            f"{folder}: images have 1 or 3 channels and the network takes {structure.input_channels}: "
            "use --calibrate random"
        )
    return torch.stack([_load(path, structure, normalisation) for path in find_images(folder, limit)])


def random_images(structure: Structure, count: int, seed: int) -> Tensor:
    """Return `count` images of unit normal noise, the same for the same seed."""
    shape = (count, structure.input_channels, structure.resolution, structure.resolution)
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape, np.float32))


def _three(option: str, text: str, least: float) -> tuple[float, float, float]:
    try:
        red, green, blue = (float(part) for part in text.split(","))
    except ValueError as error:
        raise UserError(f"--{option}: expected three numbers such as 0.485,0.456,0.406, found {text!r}") from error
    if not all(least <= value <= 1e6 for value in (red, green, blue)):
        raise UserError(f"--{option}: expected numbers from {least:g} to 1e+06, found {text!r}")
    return red, green, blue


def _load(path: Path, structure: Structure, normalisation: Normalisation) -> Tensor:
    from PIL import Image, UnidentifiedImageError

    size = structure.resolution
    try:
        with Image.open(path) as image:
            picture = image.convert("L" if structure.input_channels == 1 else "RGB")
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path}: not a readable image ({reason}); mend or remove it") from error
    shorter = max(size, round(size / _CROP_SHARE))
    scale = shorter / min(picture.size)
    picture = picture.resize(
        (max(size, round(picture.width * scale)), max(size, round(picture.height * scale))), Image.Resampling.BILINEAR
    )
    left, top = (picture.width - size) // 2, (picture.height - size) // 2
    pixels = np.asarray(picture.crop((left, top, left + size, top + size)), np.float32) / 255
    pixels = pixels.reshape(size, size, structure.input_channels)
    mean, deviation = (
        np.asarray(values[: structure.input_channels], np.float32)
        for values in (normalisation.mean, normalisation.deviation)
    )
    return torch.from_numpy(np.ascontiguousarray(((pixels - mean) / deviation).transpose(2, 0, 1)))
