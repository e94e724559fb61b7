"""How pictures become what a network was trained on: kept in the checkpoint, so that nobody has to say it twice."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from qedeploy.errors import UserError

_LARGEST = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSettings:
    """What is done to a picture, and what its classes are called; ImageNet's evaluation by default.

    The shorter side is resized to the network's resolution / `crop_share` and the centre cut out. Pixels from 0 to 1
    less `mean` are divided by `deviation`, one number for each channel of the network or three for a picture's.
    `classes` are names in the order of the logits, none where they are not known.
    """

    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    deviation: tuple[float, ...] = (0.229, 0.224, 0.225)
    crop_share: float = 0.875
    classes: tuple[str, ...] = field(default=())

    def per_channel(self, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return mean and deviation for each of `channels`; of three for one channel, the mean of the three."""
        return _fitted(self.mean, channels), _fitted(self.deviation, channels)


def to_document(settings: ImageSettings) -> dict[str, Any]:
    """Return `settings` as JSON-ready data."""
    return {
        "mean": list(settings.mean),
        "deviation": list(settings.deviation),
        "crop_share": settings.crop_share,
        "classes": list(settings.classes),
    }


def from_document(data: object, source: object) -> ImageSettings:
    """Return the settings of `data`; raises UserError naming `source` and the field that is wrong."""
    if not isinstance(data, Mapping):
        raise UserError(f"{source}: expected a table, found a {type(data).__name__}")
    mean = _numbers(data.get("mean"), f"{source}.mean", -_LARGEST)
    deviation = _numbers(data.get("deviation"), f"{source}.deviation", 1e-6)
    if len(mean) != len(deviation):
        raise UserError(f"{source}: expected as many means as deviations, found {len(mean)} and {len(deviation)}")
    (share,) = _numbers([data.get("crop_share")], f"{source}.crop_share", 1e-3, 1.0)
    classes = data.get("classes")
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise UserError(f"{source}.classes: expected a list of names")
    return ImageSettings(mean=mean, deviation=deviation, crop_share=share, classes=tuple(classes))


def _fitted(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    if len(values) == channels:
        return values
    return (sum(values) / len(values),) * channels


def _numbers(data: object, source: str, least: float, most: float = _LARGEST) -> tuple[float, ...]:
    values = data if isinstance(data, list) else []
    if not values or not all(
        isinstance(value, int | float) and math.isfinite(value) and least <= value <= most for value in values
    ):
        raise UserError(f"{source}: expected numbers from {least:g} to {most:g}, found {data!r}")
    return tuple(float(value) for value in values)
