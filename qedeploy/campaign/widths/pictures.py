"""The pictures that widths are judged on: with labels, in class folders or arrays, or without, in one folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from qedeploy.errors import UserError
from qedeploy.model.image_settings import ImageSettings
from qedeploy.model.network import QuantizedNetwork, quantizers
from qedeploy.network.structure import Structure
from qedeploy.qdq.images import EXTENSIONS, load_images
from qedeploy.train.accuracy import Share, top
from qedeploy.train.data import Subset, class_places, open_data, split, whole
from qedeploy.train.predictions import predictions, sample_images
from qedeploy.train.preparation import Preparation
from qedeploy.train.quantization import quantization_bypassed
from qedeploy.train.transforms import Normaliser

_HELD_OUT = 0.2
"""Share of pictures to judge by where the data set none apart."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judged:
    """Labelled pictures that a network is counted on; `apart` says that the data set them apart for tests."""

    subset: Subset
    preparation: Preparation
    normaliser: Normaliser
    apart: bool

    def top1(self, network: QuantizedNetwork, progress: Callable[[int, int], None]) -> Share:
        """Return how many of the pictures `network` gets right, without its quantizers where a step is missing."""
        missing = any(not bool(quantizer.initialized) for _, quantizer in quantizers(network))
        if missing:
            with quantization_bypassed(network):
                return self._right(network, progress)
        return self._right(network, progress)

    @torch.no_grad()
    def _right(self, network: QuantizedNetwork, progress: Callable[[int, int], None]) -> Share:
        found = predictions(network.eval(), self.subset, self.preparation, self.normaliser, progress=progress)
        return top(found, 1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WidthPictures:
    """`images` (count, channels, height, width), normalised, to measure on; `judged` is None without labels."""

    images: Tensor
    judged: Judged | None


def open_pictures(
    path: Path, structure: Structure, settings: ImageSettings, count: int, *, labels: bool, seed: int
) -> WidthPictures:
    """Return the pictures of `path`: up to `count` to measure on, and where they have labels those to judge by.

    Raises UserError for what cannot be read, is of other classes than the network's, or lacks `labels` that are needed.
    """
    if _plain(path):
        if labels:
            raise UserError(f"{path}: pictures without labels: --max-drop needs a folder for each class")
        return WidthPictures(images=load_images(path, structure.image_sizes, count, settings), judged=None)
    data = open_data(path)
    channels = structure.input_channels
    preparation = Preparation(
        channels=channels,
        size=structure.resolution,
        crop_share=settings.crop_share,
        class_places=class_places(data.train, settings.classes, structure.classifier.classes),
    )
    normaliser = Normaliser.of(channels, *settings.per_channel(channels), torch.device("cpu"))
    if data.test is not None:
        measured, subset = whole(data.train), whole(data.test)
        places = class_places(data.test, settings.classes or data.train.classes, structure.classifier.classes)
    else:
        measured, subset = split(data.train, _HELD_OUT, seed)
        places = preparation.class_places
    judged = Judged(
        subset=subset,
        preparation=Preparation(
            channels=channels, size=structure.resolution, crop_share=settings.crop_share, class_places=places
        ),
        normaliser=normaliser,
        apart=data.test is not None,
    )
    images = torch.cat(list(sample_images(measured, preparation, normaliser, count))).contiguous()
    return WidthPictures(images=images, judged=judged)


def _plain(path: Path) -> bool:
    """Return whether `path` is a folder with pictures in it that are in no folder of a class."""
    return path.is_dir() and any(file.suffix.lower() in EXTENSIONS for file in path.iterdir() if file.is_file())
