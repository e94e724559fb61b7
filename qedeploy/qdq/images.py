"""Images for calibration, training and evaluation: found in a folder, decoded in one way, or drawn at random."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qedeploy.contents import HEAD_BYTES, ContentKind, sniff
from qedeploy.errors import UserError
from qedeploy.files import require_file
from qedeploy.model.image_settings import ImageSettings
from qedeploy.network.layers import Dimensions
from qedeploy.qdq.pixels import UnsupportedPixelsError, rgb_pixels
from qedeploy.words import counted

EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".avif", ".heic", ".heif"}
)
MAX_PIXELS = 100_000_000
"""The most pixels of one image that are decoded: about 700 MB of memory."""

_PLUG_INS = {".heic": "pillow-heif", ".heif": "pillow-heif", ".avif": "pillow-avif-plugin"}
_LONGEST = 8
"""A side longer than this many times the shorter one is cut before resizing: the rest is not in the crop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundImages:
    """The image files under a folder, sorted, and how many there are that this installation cannot read, by suffix."""

    paths: tuple[Path, ...]
    unreadable: Mapping[str, int]

    def skipped(self) -> str:
        """Return a sentence on the files that are skipped, "" if there are none."""
        if not self.unreadable:
            return ""
        counts = ", ".join(f"{counted(count, f'{suffix} file')}" for suffix, count in self.unreadable.items())
        packages = " ".join(sorted({_PLUG_INS[suffix] for suffix in self.unreadable}))
        return f"{counts} skipped: Pillow reads them after `pip install {packages}`"


def parse_normalisation(mean: str | None, deviation: str | None) -> ImageSettings | None:
    """Return image settings with mean and deviation from texts of three numbers each; None where both are None.

    Raises UserError where a text is no three numbers.
    """
    if mean is None and deviation is None:
        return None
    usual = ImageSettings()
    return ImageSettings(
        mean=usual.mean if mean is None else _three("mean", mean, -1e6),
        deviation=usual.deviation if deviation is None else _three("deviation", deviation, 1e-6),
    )


def list_images(folder: Path) -> FoundImages:
    """Return all image files under `folder`; raises UserError where it cannot be read or holds none.

    Hidden files and folders are skipped, and so are the companions that macOS (`._a.jpg`, `__MACOSX`) and network
    drives (`@eaDir`) leave beside pictures. Links to folders are not followed.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: expected a folder of images for --calibrate, or the word random")
    _, missing = _pillow()
    found = [path for path in _files(folder) if path.suffix.lower() in EXTENSIONS]
    unreadable = Counter(path.suffix.lower() for path in found if path.suffix.lower() in missing)
    readable = EXTENSIONS - missing
    images = FoundImages(
        paths=tuple(sorted(path for path in found if path.suffix.lower() in readable)),
        unreadable=dict(sorted(unreadable.items())),
    )
    if not images.paths:
        skipped = images.skipped()
        raise UserError(
            f"{folder}: holds no images ({', '.join(sorted(readable))}), also not in its folders"
            + (f"; {skipped}" if skipped else "")
        )
    return images


def find_images(folder: Path, limit: int) -> list[Path]:
    """Return up to `limit` image files under `folder`, evenly spread over the sorted list of all of them.

    Raises UserError as `list_images` does.
    """
    found = list_images(folder).paths
    chosen = np.linspace(0, len(found) - 1, min(limit, len(found))).round().astype(int)
    return [found[index] for index in chosen]


def decode_image(source: Path | BinaryIO, name: str = "") -> NDArray[np.uint8]:
    """Return an image as RGB (height, width, 3), upright. Every picture is decoded by this function.

    `source` is a file or an open binary stream, `name` what messages call it (the path by default). Of an animation it
    is the first frame. Raises UserError naming it where it is no image, damaged, of a kind of pixels without a known
    meaning, or of more than `MAX_PIXELS`, which its header says before anything is decoded.
    """
    image_module, _ = _pillow()
    name = name or str(source)
    if isinstance(source, Path):
        require_file(source)
    try:
        with image_module.open(source) as image:
            _require_size(image.width, image.height, name)
            return rgb_pixels(image)
    except UserError:
        raise
    except UnsupportedPixelsError as error:
        raise UserError(f"{name}: {error}: convert it to 8 bits a channel, or remove it") from error
    except image_module.DecompressionBombError as error:
        raise UserError(f"{name}: {_too_large(str(error))}") from error
    except Exception as error:  # Damaged files make Pillow's decoders raise a dozen kinds, and all of them mean this.
        raise UserError(f"{name}: not a readable image ({_reason(source, error)}); mend or remove it") from error


def centre_crop(
    pixels: NDArray[np.uint8],
    size: int | tuple[int, int],
    channels: int = 3,
    crop_share: float = ImageSettings().crop_share,
) -> NDArray[np.uint8]:
    """Return the middle of an RGB image as (height, width, channels): what networks are evaluated on.

    `size` is both sides, or height and width. The image is resized (bilinear) until it covers size / `crop_share`, then
    the centre is cut out. One channel is ITU-R 601 luma. A gray image, (height, width, 1), stays one.
    """
    from PIL import Image

    height, width, depth = pixels.shape
    rows, columns = (size, size) if isinstance(size, int) else size
    if (height, width) == (rows, columns) and crop_share == 1 and depth == channels:
        return pixels
    longest = _LONGEST * min(height, width)
    top, left = (max(0, side - longest) // 2 for side in (height, width))
    pixels = pixels[top : top + longest, left : left + longest]
    picture = Image.fromarray(np.ascontiguousarray(pixels[:, :, 0] if depth == 1 else pixels))
    if channels == 1:
        picture = picture.convert("L")
    covered = [max(side, round(side / crop_share)) for side in (columns, rows)]
    scale = max(side / found for side, found in zip(covered, picture.size, strict=True))
    picture = picture.resize(
        (max(columns, round(picture.width * scale)), max(rows, round(picture.height * scale))),
        Image.Resampling.BILINEAR,
    )
    left, top = (picture.width - columns) // 2, (picture.height - rows) // 2
    cut = np.asarray(picture.crop((left, top, left + columns, top + rows)))
    return cut.reshape(rows, columns, min(depth, channels))


def load_images(folder: Path, sizes: Dimensions, limit: int, settings: ImageSettings) -> Tensor:
    """Return up to `limit` images of `folder` as (count, *sizes), normalised; `sizes` are channels, height, width.

    Raises UserError naming the first file that cannot be read as an image.
    """
    channels = sizes[0]
    if channels not in {1, 3}:
        raise UserError(
            f"{folder}: images have 1 or 3 channels and the network takes {channels}: use --calibrate random"
        )
    return torch.stack([_load(path, sizes, settings) for path in find_images(folder, limit)])


def random_images(sizes: Dimensions, count: int, seed: int) -> Tensor:
    """Return `count` images of unit normal noise, each of `sizes`: the same for the same seed."""
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((count, *sizes), np.float32))


def _three(option: str, text: str, least: float) -> tuple[float, float, float]:
    try:
        red, green, blue = (float(part) for part in text.split(","))
    except ValueError as error:
        raise UserError(f"--{option}: expected three numbers such as 0.485,0.456,0.406, found {text!r}") from error
    if not all(least <= value <= 1e6 for value in (red, green, blue)):
        raise UserError(f"--{option}: expected numbers from {least:g} to 1e+06, found {text!r}")
    return red, green, blue


def _files(folder: Path) -> Iterator[Path]:
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not _passed_over(name)]
        for name in files:
            path = Path(root, name)
            # Unlike the method of Path, this one says False of a link without end and of what may not be looked at.
            if not _passed_over(name) and os.path.isfile(path):  # noqa: PTH113
                yield path


def _passed_over(name: str) -> bool:
    return name.startswith(".") or name in {"__MACOSX", "@eaDir"}


@lru_cache(maxsize=1)
def _pillow() -> tuple[ModuleType, frozenset[str]]:
    """Return Pillow's Image module with the plug-ins that are installed, and the suffixes that none of them reads."""
    import warnings

    from PIL import Image, features

    # Of large images, where MAX_PIXELS says more, and of damaged EXIF, which costs nothing: noise beside the answer.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    missing = {".heic", ".heif"}
    if find_spec("pillow_heif") is not None:
        import pillow_heif

        pillow_heif.register_heif_opener()
        missing.clear()
    if not features.check("avif"):
        if find_spec("pillow_avif") is None:
            missing.add(".avif")
        else:
            # Importing it is what registers it.
            import_module("pillow_avif")
    return Image, frozenset(missing)


def _require_size(width: int, height: int, name: str) -> None:
    if width * height > MAX_PIXELS:
        raise UserError(f"{name}: {_too_large(f'{width} x {height} pixels')}")


def _too_large(found: str) -> str:
    return f"expected at most {MAX_PIXELS:,} pixels, found {found}: make it smaller, or remove it"


def _reason(source: Path | BinaryIO, error: Exception) -> str:
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError) and isinstance(source, Path):
        with source.open("rb") as stream:
            content = sniff(stream.read(HEAD_BYTES))
        if content.kind is not ContentKind.UNKNOWN:
            return f"found {content}"
    return " ".join(str(error).split()) or type(error).__name__


def _load(path: Path, sizes: Dimensions, settings: ImageSettings) -> Tensor:
    channels, height, width = sizes
    pixels = centre_crop(decode_image(path), (height, width), channels, settings.crop_share)
    mean, deviation = (np.asarray(values, np.float32) for values in settings.per_channel(channels))
    scaled = pixels.astype(np.float32) / 255
    return torch.from_numpy(np.ascontiguousarray(((scaled - mean) / deviation).transpose(2, 0, 1)))
