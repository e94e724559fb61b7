"""Networks for the builder: small, of every kind of layer, exported in TensorRT's dialect."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from qedeploy.network.structure import Bits, Block, Classifier, Convolution, Stage, Structure
from qedeploy.profiles.loader import load_profile
from qedeploy.qdq.images import random_images
from qedeploy.qdq.lowered import LoweredNetwork
from qedeploy.qdq.lowering import lower
from qedeploy.qdq.metadata import ModelMetadata, to_properties
from qedeploy.qdq.plan import Grid, StepSource
from qedeploy.qdq.writer import write_model
from qedeploy.runtimes.nvidia.dialect import TensorRTDialect
from tests.export.networks import random_trained

W8A8 = Bits(weight=8, activation=8)
W4A16 = Bits(weight=4, activation=16)


def structure(
    *,
    expand: Bits = W8A8,
    depthwise: Bits = W8A8,
    project: Bits = W8A8,
    head: Bits = W8A8,
    classifier: Bits = W8A8,
    kernel: int = 3,
    channels: int = 16,
    bottleneck: int = 32,
    resolution: int = 16,
    classes: int = 10,
    pooled: bool = True,
) -> Structure:
    """A stem, a stage with a residual, one that strides and pools its shortcut where `pooled`, a head, a classifier."""
    block = Block(expand=expand, depthwise=depthwise, project=project)
    width = channels if pooled else channels + 8
    return Structure(
        stem=Convolution(out_channels=channels, kernel=3, stride=2, bits=W8A8),
        stages=(
            Stage(out_channels=channels, bottleneck_channels=bottleneck, kernel=kernel, stride=1, blocks=(block,)),
            Stage(out_channels=width, bottleneck_channels=bottleneck, kernel=kernel, stride=2, blocks=(block, block)),
        ),
        head=Convolution(out_channels=64, kernel=1, stride=1, bits=head),
        classifier=Classifier(classes=classes, bits=classifier),
        resolution=resolution,
    )


def lowered(described: Structure, profile_name: str = "t4-int8", *, seed: int = 0) -> LoweredNetwork:
    """A network with random weights as `profile_name` executes it."""
    profile = load_profile(profile_name)
    trained = random_trained(described, seed=seed)
    grids = {name: _representable(grid, profile.unsigned_activation_bits) for name, grid in trained.grids.items()}
    return lower(
        dataclasses.replace(trained, grids=grids),
        profile,
        TensorRTDialect(),
        random_images(described.image_sizes, 2, seed),
        StepSource.RANDOM,
    )


def _representable(grid: Grid | None, unsigned_bits: int) -> Grid | None:
    if grid is None or grid.signed or grid.bits <= unsigned_bits:
        return grid
    return Grid.of(bits=grid.bits, signed=True, step=grid.step * 2, nonnegative=True)


def metadata_of(network: LoweredNetwork) -> ModelMetadata:
    return ModelMetadata(graph=network.graph, profile=network.plan.profile, plan=network.plan)


def write(network: LoweredNetwork, path: Path, *, batch: int | None = 1) -> Path:
    """Write the ONNX file of `network`; returns `path`."""
    written = write_model(network, TensorRTDialect(), batch=batch, metadata=to_properties(metadata_of(network)))
    path.write_bytes(written.model.SerializeToString())
    return path
