"""Pillow's pixel modes, each with what it becomes in 8-bit RGB, or why it is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image, Transpose

_BY_PILLOW = frozenset({"1", "L", "RGB", "RGBX", "RGBA", "LA", "CMYK", "YCbCr", "HSV"})
"""Modes of 8 bits or one, which Pillow converts as they stand. Alpha is dropped: the colours below it stay, as in the
loaders that networks are trained with (torchvision, OpenCV, TensorFlow)."""

_BY_WAY_OF = {"P": "RGBA", "PA": "RGBA", "RGBa": "RGBA", "La": "LA"}
"""Palettes, whose transparency may be of one index or of all, and colours that were multiplied by their alpha."""

_SIXTEEN_BITS = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})
_SIXTEEN_BIT_FORMATS = frozenset({"PNG", "PPM"})
"""Formats whose mode `I` holds 0 to 65535; in all others it is a whole number of 32 bits without a known range."""

_REFUSED = {
    "I": "whole numbers of 32 bits or with a sign, whose white is not known",
    "F": "floating point numbers, whose white is not known",
    "LAB": "CIE L*a*b* colours, which need a colour profile",
}
_ORIENTATION = 0x0112
_BITS_PER_SAMPLE = 258
_PHOTOMETRIC = 262
_WHITE_IS_ZERO = 0


class UnsupportedPixelsError(Exception):
    """Pixels that have no known meaning in 8-bit RGB; the message says which they are."""


def rgb_pixels(image: Image) -> NDArray[np.uint8]:
    """Return an opened image as (height, width, 3), turned as its EXIF orientation says.

    16-bit gray is scaled by 255/65535 and rounded. Colour profiles are left out of account. Raises
    UnsupportedPixelsError for modes that are in no table here, and what Pillow raises for damaged files.
    """
    image.load()
    turned = _upright(image)
    if image.mode in _BY_PILLOW:
        return np.asarray(turned.convert("RGB"))
    if image.mode in _BY_WAY_OF:
        return np.asarray(turned.convert(_BY_WAY_OF[image.mode]).convert("RGB"))
    if image.mode in _SIXTEEN_BITS or (image.mode == "I" and image.format in _SIXTEEN_BIT_FORMATS):
        return np.repeat(_gray(np.asarray(turned), image)[:, :, np.newaxis], 3, axis=2)
    raise UnsupportedPixelsError(f"its pixels are {_REFUSED.get(image.mode, f'of the unknown mode {image.mode}')}")


def _gray(values: NDArray[np.generic], image: Image) -> NDArray[np.uint8]:
    tags: Mapping[int, Any] = getattr(image, "tag_v2", {})
    # A TIFF may keep 12 bits a pixel, which Pillow unpacks and does not scale.
    bits = tags.get(_BITS_PER_SAMPLE, (16,))
    white = (1 << min(16, bits[0] if isinstance(bits, tuple) else bits)) - 1
    scaled: NDArray[np.float32] = np.rint(values.astype(np.float32) * (255 / white)).clip(0, 255)
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        scaled = 255 - scaled
    return scaled.astype(np.uint8)


def _upright(image: Image) -> Image:
    from PIL.Image import Transpose

    turns: dict[int, Transpose] = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    try:
        # Read after `load`: for some formats Pillow turns the pixels itself, and takes the entry out then.
        orientation = image.getexif().get(_ORIENTATION)
    except Exception:  # Damaged EXIF makes Pillow raise a dozen kinds, and does not make the picture unreadable.
        return image
    turn = turns.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)
