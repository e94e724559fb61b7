"""From the bytes of a picture to its pixels, and from pixels of any size to those that a network takes."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qedeploy.errors import UserError
from qedeploy.qdq.images import decode_image
from qedeploy.train.source import CorruptImageError


def decode_picture(content: Path | bytes, name: str) -> NDArray[np.uint8]:
    """Return a picture as RGB (height, width, 3); `name` is what the message of a CorruptImageError calls it."""
    try:
        return decode_image(io.BytesIO(content) if isinstance(content, bytes) else content, name)
    except UserError as error:
        raise CorruptImageError(str(error)) from error


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
