"""What is measured: a whole network, or a few blocks of one as a graph of their own, quantized in and out."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from qedeploy.export.baselines import random_network
from qedeploy.files import write_bytes
from qedeploy.network.graph import structure_graph
from qedeploy.network.layers import LayerCategory
from qedeploy.network.structure import Bits, Block, Classifier, Convolution, Stage, Structure
from qedeploy.network.structure_file import to_document
from qedeploy.profiles.profile import Profile
from qedeploy.qdq.dialect import Dialect
from qedeploy.qdq.lowered import LoweredNetwork
from qedeploy.qdq.writer import write_fragment, write_model
from qedeploy.runtimes.base import BuildSource
from qedeploy.runtimes.registry import dialect_for, find_runtime

STEM, BLOCK, HEAD, CLASSIFIER = "stem", "stage1.block1", "head", "classifier"
"""Names of the blocks of the small structures below."""

_NARROW = 8
"""Channels of the layers that surround a fragment and are not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkCase:
    """Blocks of a structure, by `Layer.block`; None stands for the whole network."""

    structure: Structure
    blocks: tuple[str, ...] | None = None

    @property
    def key(self) -> str:
        """A name that equal cases share, in this run and in any other."""
        text = json.dumps([to_document(self.structure), self.blocks], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockShape:
    """An inverted bottleneck: channels, depthwise kernel and stride, square input in pixels, widths."""

    in_channels: int
    bottleneck: int
    out_channels: int
    kernel: int
    stride: int
    size: int
    widths: Block


def block_case(shape: BlockShape, around: Bits) -> BenchmarkCase:
    """Return one inverted bottleneck between layers at `around`."""
    stage = Stage(
        out_channels=shape.out_channels,
        bottleneck_channels=shape.bottleneck,
        kernel=shape.kernel,
        stride=shape.stride,
        blocks=(shape.widths,),
    )
    structure = Structure(
        stem=Convolution(out_channels=shape.in_channels, kernel=1, stride=1, bits=around),
        stages=(stage,),
        head=Convolution(out_channels=_NARROW, kernel=1, stride=1, bits=around),
        classifier=Classifier(classes=2, bits=around),
        resolution=shape.size,
    )
    return BenchmarkCase(structure=structure, blocks=(BLOCK,))


def stem_case(stem: Convolution, resolution: int, around: Bits) -> BenchmarkCase:
    """Return a stem that reads the image, in front of a layer at `around`."""
    structure = Structure(
        stem=stem,
        stages=(_narrow_stage(stem.out_channels, around),),
        head=Convolution(out_channels=_NARROW, kernel=1, stride=1, bits=around),
        classifier=Classifier(classes=2, bits=around),
        resolution=resolution,
    )
    return BenchmarkCase(structure=structure, blocks=(STEM,))


def tail_case(in_channels: int, head: Convolution, classifier: Classifier, size: int, around: Bits) -> BenchmarkCase:
    """Return head, global pooling and classifier behind a value of `in_channels` and `size` pixels."""
    structure = Structure(
        stem=Convolution(out_channels=in_channels, kernel=1, stride=1, bits=around),
        stages=(_narrow_stage(in_channels, around),),
        head=head,
        classifier=classifier,
        resolution=size,
    )
    return BenchmarkCase(structure=structure, blocks=(HEAD, CLASSIFIER))


def reference_case(around: Bits) -> BenchmarkCase:
    """Return the reference graph, measured beside every other one: an ordinary block of some hundred microseconds."""
    shape = BlockShape(
        in_channels=48, bottleneck=144, out_channels=48, kernel=3, stride=1, size=28, widths=Block.uniform(around)
    )
    return block_case(shape, around)


def write_case(case: BenchmarkCase, profile: Profile, folder: Path) -> Path:
    """Write a case into `folder` as the profile's runtime runs it, built if necessary; returns the file.

    Raises RequestError where the runtime has no kernel for it, MissingRuntimeError where this machine lacks the runtime
    or its device.
    """
    network, dialect = _random_network(case, profile)
    path = _write(case, network, dialect, folder)
    runtime = find_runtime(profile.runtime)
    if runtime.artefact is None:
        return path
    source = BuildSource(model=path, network=network, blocks=case.blocks)
    return runtime.build(source, runtime.artefact_path(path), {}, 1).path


def write_graph(case: BenchmarkCase, profile: Profile, folder: Path) -> Path:
    """Write a case with random weights as an ONNX file in the profile's dialect, batch 1; returns the file."""
    network, dialect = _random_network(case, profile)
    return _write(case, network, dialect, folder)


def neutral_bits(profile: Profile) -> Bits:
    """Return the bits of the layers around fragments: the profile's first native pair for pointwise layers."""
    return profile.native_pairs(LayerCategory.POINTWISE)[0]


def _random_network(case: BenchmarkCase, profile: Profile) -> tuple[LoweredNetwork, Dialect]:
    dialect = dialect_for(profile.runtime, profile.dialect)
    return dialect.arrange(random_network(structure_graph(case.structure), dialect)), dialect


def _write(case: BenchmarkCase, network: LoweredNetwork, dialect: Dialect, folder: Path) -> Path:
    if case.blocks is None:
        model = write_model(network, dialect, batch=1).model
    else:
        model = write_fragment(network, dialect, case.blocks, batch=1)
    return write_bytes(folder / f"{case.key}.onnx", model.SerializeToString())


def _narrow_stage(channels: int, bits: Bits) -> Stage:
    return Stage(out_channels=channels, bottleneck_channels=_NARROW, kernel=3, stride=1, blocks=(Block.uniform(bits),))
