"""RandAugment: a few of fourteen operations on a picture, all at one strength.

Source: Cubuk et al., "RandAugment", 2019, https://arxiv.org/abs/1909.13719; the ranges are those of its reference code.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps

_STRONGEST = 10
_GRAY = 128


def rand_augment(
    pixels: NDArray[np.uint8], operations: int, magnitude: float, draws: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """Return `pixels` (height, width, 1 or 3) after `operations` drawn by `draws`, three numbers for each.

    `magnitude` is the strength from 0 to 10.
    """
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else np.ascontiguousarray(pixels))
    for which, sign, _ in draws.reshape(-1, 3)[:operations]:
        operation = _OPERATIONS[int(which * len(_OPERATIONS))]
        image = operation(image, magnitude / _STRONGEST, 1.0 if sign < 0.5 else -1.0)
    changed = np.asarray(image)
    return changed[:, :, None] if changed.ndim == 2 else changed


def _affine(
    image: Image.Image, *, shear: tuple[float, float] = (0, 0), shift: tuple[float, float] = (0, 0)
) -> Image.Image:
    numbers = (1, shear[0], shift[0] * image.width, shear[1], 1, shift[1] * image.height)
    return image.transform(image.size, Image.Transform.AFFINE, numbers, fillcolor=_fill(image))


def _fill(image: Image.Image) -> int | tuple[int, int, int]:
    return _GRAY if image.mode == "L" else (_GRAY, _GRAY, _GRAY)


def _enhance(
    kind: Callable[[Image.Image], ImageEnhance._Enhance],
) -> Callable[[Image.Image, float, float], Image.Image]:
    return lambda image, strength, sign: kind(image).enhance(1 + 0.9 * strength * sign)


_OPERATIONS: tuple[Callable[[Image.Image, float, float], Image.Image], ...] = (
    lambda image, strength, sign: image,
    lambda image, strength, sign: ImageOps.autocontrast(image),
    lambda image, strength, sign: ImageOps.equalize(image),
    lambda image, strength, sign: image.rotate(30 * strength * sign, fillcolor=_fill(image)),
    lambda image, strength, sign: ImageOps.solarize(image, round(256 * (1 - strength))),
    lambda image, strength, sign: ImageOps.posterize(image, 8 - round(4 * strength)),
    lambda image, strength, sign: _affine(image, shear=(0.3 * strength * sign, 0)),
    lambda image, strength, sign: _affine(image, shear=(0, 0.3 * strength * sign)),
    lambda image, strength, sign: _affine(image, shift=(0.45 * strength * sign, 0)),
    lambda image, strength, sign: _affine(image, shift=(0, 0.45 * strength * sign)),
    _enhance(ImageEnhance.Color),
    _enhance(ImageEnhance.Contrast),
    _enhance(ImageEnhance.Brightness),
    _enhance(ImageEnhance.Sharpness),
)
"""Each takes the picture, the strength from 0 to 1 and a sign."""
