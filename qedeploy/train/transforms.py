"""What is done to training pictures: a crop, a flip, RandAugment and mixup, each drawn from numbers that are given.

Every draw comes from a table of uniform numbers, one row a picture: whoever knows seed, epoch and step knows the batch,
whichever process or worker makes it, and however often training was interrupted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qedeploy.qdq.images import centre_crop
from qedeploy.train.pictures import resized
from qedeploy.train.preparation import Preparation
from qedeploy.train.randaugment import rand_augment
from qedeploy.train.recipe import Augmentation, Crop

_RATIOS = (3 / 4, 4 / 3)
"""Widths over heights of random crops, as everybody's since GoogLeNet."""

_OWN_DRAWS = 6
"""Columns of a row that the crop and the flip take; RandAugment takes three for each operation behind them."""


def draws_needed(augmentation: Augmentation) -> int:
    """Return how many uniform numbers a picture takes."""
    return _OWN_DRAWS + 3 * augmentation.randaugment


def training_picture(
    pixels: NDArray[np.uint8], prepared: Preparation, augmentation: Augmentation, draws: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """Return a picture as training sees it, (size, size, 1 or 3); `draws` are as many as `draws_needed` says."""
    size = prepared.size
    match augmentation.crop:
        case Crop.RESIZED:
            pixels = _resized_crop(pixels, size, augmentation.crop_scale, draws)
            if prepared.channels == 1 and pixels.shape[2] == 3:
                pixels = centre_crop(pixels, size, 1, 1.0)
        case Crop.PADDED:
            pixels = _padded_crop(
                centre_crop(pixels, size, prepared.channels, prepared.crop_share), augmentation.crop_padding, draws
            )
        case Crop.NONE:
            pixels = plain_picture(pixels, prepared)
    if draws[5] < augmentation.flip:
        pixels = pixels[:, ::-1]
    if augmentation.randaugment:
        pixels = rand_augment(pixels, augmentation.randaugment, augmentation.magnitude, draws[_OWN_DRAWS:])
    return pixels


def plain_picture(pixels: NDArray[np.uint8], prepared: Preparation) -> NDArray[np.uint8]:
    """Return a picture as evaluation sees it, (size, size, 1 or 3)."""
    return centre_crop(pixels, prepared.size, prepared.channels, prepared.crop_share)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Normaliser:
    """Turns bytes (batch, 1 or 3, height, width) into what the network reads, on the network's device."""

    channels: int
    mean: Tensor
    deviation: Tensor

    @classmethod
    def of(
        cls, channels: int, mean: tuple[float, ...], deviation: tuple[float, ...], device: torch.device
    ) -> Normaliser:
        """Return the normaliser of `channels` with a mean and a deviation for each, of pixels from 0 to 1."""
        shape = (1, channels, 1, 1)
        return cls(
            channels=channels,
            mean=(255 * torch.tensor(mean, dtype=torch.float32)).reshape(shape).to(device),
            deviation=(255 * torch.tensor(deviation, dtype=torch.float32)).reshape(shape).to(device),
        )

    def __call__(self, pixels: Tensor) -> Tensor:
        """Return float32 (batch, channels, height, width) in channels-last memory; gray goes to every channel."""
        values = pixels.to(self.mean.device, non_blocking=True).to(torch.float32)
        if values.shape[1] != self.channels:
            values = values.expand(-1, self.channels, -1, -1)
        return ((values - self.mean) / self.deviation).contiguous(memory_format=torch.channels_last)


def mix(images: Tensor, share: float) -> Tensor:
    """Return `images` with `share` of each and the rest of its neighbour's (mixup; Zhang et al. 2018)."""
    return images * share + images[neighbours(len(images), images.device)] * (1 - share)


def neighbours(count: int, device: torch.device) -> Tensor:
    """Return the place that each is paired with, (count,): a batch cut into even parts mixes as the whole does."""
    places = torch.arange(count, device=device) ^ 1
    return places.clamp_(max=count - 1)


def _resized_crop(
    pixels: NDArray[np.uint8], size: int, scale: tuple[float, float], draws: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """Return a random part of a picture at `size`: an area within `scale`, of a shape that differs (Szegedy 2015)."""
    height, width = pixels.shape[:2]
    area = height * width * (scale[0] + (scale[1] - scale[0]) * draws[0])
    low, high = map(math.log, _RATIOS)
    ratio = math.exp(low + (high - low) * draws[1])
    crop_width = min(width, max(1, round(math.sqrt(area * ratio))))
    crop_height = min(height, max(1, round(math.sqrt(area / ratio))))
    left, top = int(draws[2] * (width - crop_width + 1)), int(draws[3] * (height - crop_height + 1))
    return resized(pixels, size, size, (left, top, left + crop_width, top + crop_height))


def _padded_crop(pixels: NDArray[np.uint8], padding: int, draws: NDArray[np.float64]) -> NDArray[np.uint8]:
    size = pixels.shape[0]
    wide = np.zeros((size + 2 * padding, size + 2 * padding, pixels.shape[2]), np.uint8)
    wide[padding : padding + size, padding : padding + size] = pixels
    left, top = (int(draw * (2 * padding + 1)) for draw in draws[2:4])
    return wide[top : top + size, left : left + size]
