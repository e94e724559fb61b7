"""Many structures at once: their shapes and widths as arrays, and the layers that these make."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from qedeploy.search.space.layers import Array, Layers
from qedeploy.search.space.space_layers import SpaceLayers


@dataclass(frozen=True, slots=True, kw_only=True)
class Shapes:
    """N structures as values: what a structure's costs and score depend on.

    `stem`, `head` (index of its pair): [N]; `channels`, `kernels`, `bottlenecks`, `depths`: [stages, N];
    `widths`: [stages, blocks, 1 or 3, N], indices into the choices of a block, or into the pairs of its three layers.
    Blocks beyond a stage's depth count for nothing.
    """

    stem: Array
    head: Array
    channels: Array
    kernels: Array
    bottlenecks: Array
    depths: Array
    widths: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class StageLayers:
    """The three layers of a stage's first block and of its `rest`, for N structures.

    `chosen` are the pairs of each of the three in all blocks, [blocks, N]; the number behind the last pair stands for a
    block that is not there.
    """

    first: tuple[Layers, Layers, Layers]
    rest: tuple[Layers, Layers, Layers]
    chosen: tuple[Array, Array, Array]
    depth: Array


class Population:
    """The layers of N structures of a space."""

    def __init__(self, made: SpaceLayers, shapes: Shapes) -> None:
        self.made, self.shapes, self.count = made, shapes, int(shapes.stem.size)
        self.stem, self.head = made.stem(shapes.stem), made.head(shapes.channels[-1])
        self.stages = [self._stage(stage) for stage in range(len(made.space.strides))]

    def live(self, stage: int, position: int) -> Array:
        """Return the pairs of one layer of the blocks of a stage, [blocks, N]; see StageLayers."""
        shapes = self.shapes
        widths = shapes.widths[stage, :, min(position, shapes.widths.shape[2] - 1)]
        dead = np.arange(shapes.widths.shape[1])[:, None] >= shapes.depths[stage]
        return np.where(dead, len(self.made.block_pairs[position]), widths)

    def layers(self) -> Iterator[tuple[Layers, Array]]:
        """Yield layers [N] with the pairs chosen, [blocks, N]: those of the blocks that have these shapes."""
        yield self.stem, np.zeros((1, self.count), np.intp)
        for stage in self.stages:
            for first, rest, chosen in zip(stage.first, stage.rest, stage.chosen, strict=True):
                yield first, chosen[:1]
                if len(chosen) > 1:
                    yield rest, chosen[1:]
        yield self.head, self.shapes.head[None]

    def _stage(self, stage: int) -> StageLayers:
        shapes = self.shapes
        before = shapes.channels[stage - 1] if stage else shapes.stem
        out, middle, kernel = shapes.channels[stage], shapes.bottlenecks[stage], shapes.kernels[stage]
        return StageLayers(
            first=self.made.block(stage, first=True, into=before, middle=middle, out=out, kernel=kernel),
            rest=self.made.block(stage, first=False, into=out, middle=middle, out=out, kernel=kernel),
            chosen=(self.live(stage, 0), self.live(stage, 1), self.live(stage, 2)),
            depth=shapes.depths[stage],
        )
