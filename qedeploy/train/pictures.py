"""From the bytes of a picture to its pixels, and from pixels of any size to those that a network takes."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qedeploy.train.source import CorruptImageError


def decode_picture(content: Path | bytes, name: object, channels: int) -> NDArray[np.uint8]:
    """Return a picture as (height, width, 1 or 3): gray for a network of one channel, else RGB.

    `name` is what the message of a CorruptImageError calls a file or bytes that are no picture.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content) if isinstance(content, bytes) else content) as image:
            pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CorruptImageError(f"{name}: not a readable image ({reason}); mend or remove it") from error
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def resized(
    pixels: NDArray[np.uint8], width: int, height: int, box: tuple[float, float, float, float] | None = None
) -> NDArray[np.uint8]:
    """Return `pixels` (height, width, 1 or 3) at another size, or what `box` (left, top, right, bottom) has of them."""
    from PIL import Image

    if pixels.shape[:2] == (height, width) and box is None:
        return pixels
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    scaled = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR, box=box))
    return scaled[:, :, None] if scaled.ndim == 2 else scaled


def centre_crop(pixels: NDArray[np.uint8], size: int, crop_share: float) -> NDArray[np.uint8]:
    """Return the centre of a picture, (size, size, 1 or 3), its shorter side resized to `size` / `crop_share` first."""
    height, width = pixels.shape[:2]
    shorter = max(size, round(size / crop_share))
    scale = shorter / min(height, width)
    pixels = resized(pixels, max(size, round(width * scale)), max(size, round(height * scale)))
    top, left = (pixels.shape[0] - size) // 2, (pixels.shape[1] - size) // 2
    return pixels[top : top + size, left : left + size]
