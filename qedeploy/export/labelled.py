"""Labelled pictures in an export: some to calibrate on, and others to say what the lowering costs of accuracy."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from qedeploy.export.checkpoint_reader import calibrated_network
from qedeploy.model.image_settings import ImageSettings
from qedeploy.model.network import QuantizedNetwork
from qedeploy.network.structure import Structure
from qedeploy.qdq.plan import Grid
from qedeploy.train.accuracy import Difference, Share, difference, top
from qedeploy.train.artefacts import network_artefact, opened
from qedeploy.train.data import class_places, open_data, open_test_data, whole
from qedeploy.train.evaluate import EvaluateOptions, answers
from qedeploy.train.predictions import sample_images
from qedeploy.train.preparation import Preparation
from qedeploy.train.transforms import Normaliser


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAccuracy:
    """The top-1 of the training forward pass and of the written file on the same pictures, and their difference.

    `apart` says whether the data sets these pictures apart from those to train on.
    """

    data: Path
    apart: bool
    runtime: str
    before: Share
    after: Share
    difference: Difference


def accuracy_document(kept: KeptAccuracy) -> dict[str, Any]:
    """Return `kept` as JSON-ready data."""
    return {**dataclasses.asdict(kept), "data": str(kept.data)}


def calibration_images(structure: Structure, data: Path, count: int, settings: ImageSettings) -> Tensor:
    """Return up to `count` of the training pictures of `data`, evenly spread, as the network sees them.

    Raises UserError where they cannot be read or are not of the network's classes.
    """
    source, channels = open_data(data).train, structure.input_channels
    preparation = Preparation(
        channels=channels,
        size=structure.resolution,
        crop_share=settings.crop_share,
        class_places=class_places(source, settings.classes, structure.classifier.classes),
    )
    normaliser = Normaliser.of(channels, *settings.per_channel(channels), torch.device("cpu"))
    return torch.cat(list(sample_images(whole(source), preparation, normaliser, count))).contiguous()


def kept_accuracy(
    checkpoint: Path,
    trained: QuantizedNetwork,
    grids: Mapping[str, Grid],
    content: bytes,
    data: Path,
    settings: ImageSettings,
    progress: Callable[[int, int], None],
) -> KeptAccuracy:
    """Return what `trained`, with the steps of `grids` where it has none, and the file of `content` get right.

    `checkpoint` is where the network came from. Both see the test pictures of `data`, or all where it sets none apart.
    Raises UserError where they cannot be read or are not of the network's classes.
    """
    source, subset = open_data(data), whole(open_test_data(data))
    options = EvaluateOptions()

    def half_done(first: int) -> Callable[[str, int, int], None]:
        return lambda _, done, total: progress(first * total + done, 2 * total)

    in_training = network_artefact(checkpoint, calibrated_network(trained, grids), settings)
    before = answers(in_training, subset, settings, options, half_done(0))
    with tempfile.TemporaryDirectory() as folder:
        # Under its own suffix, by which a runtime knows it.
        file = Path(folder) / "model.onnx"
        file.write_bytes(content)
        with opened(file) as artefact:
            after = answers(artefact, subset, settings, options, half_done(1))
            runtime = artefact.runtime
    return KeptAccuracy(
        data=data,
        apart=source.test is not None,
        runtime=runtime,
        before=top(before, 1),
        after=top(after, 1),
        difference=difference(after, before),
    )
