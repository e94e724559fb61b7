"""The moves that make a structure, from the stem to the head, as whole numbers."""

from __future__ import annotations

from collections.abc import Sequence

from qedeploy.network.structure import Block, Stage, Structure
from qedeploy.search.exact.completion import ChannelGrid
from qedeploy.search.exact.problem import Problem
from qedeploy.search.space.space import bottleneck_channels

Move = tuple[int, ...]
"""Channels, kernel and ratio as indices, then the pairs of three layers; -1 for what a move does not decide."""

STEM_MOVE = (-1,) * 5
"""What follows the channels in the move that chooses the stem."""

HEAD_MOVE = (-1,) * 6
"""The move that chooses the head, whose pair stands at the fourth place."""

REPEAT = (-1,) * 3
"""What stands before the pairs of a block that repeats the shape of the one before."""


def structure_from_moves(problem: Problem, grid: ChannelGrid, moves: Sequence[Move]) -> Structure:
    """Return the structure that a whole row of moves makes."""
    space = problem.space
    (stem, *_), *blocks, (_, _, _, head, _, _) = moves
    stages: list[Stage] = []
    kinds = [pairs.bits for pairs in problem.block_pairs]
    step = -1
    for channels, kernel, ratio, *pairs in blocks:
        expand, depthwise, project = (bits[pair] for bits, pair in zip(kinds, pairs, strict=True))
        block = Block(expand=expand, depthwise=depthwise, project=project)
        if channels < 0:
            last = stages.pop()
            chosen = (*last.blocks, block)
            out, middle, size = last.out_channels, last.bottleneck_channels, last.kernel
        else:
            step += 1
            chosen = (block,)
            out, size = int(grid.channels[step + 1][channels]), space.kernels[kernel]
            middle = bottleneck_channels(out, space.ratios[ratio])
        stages.append(
            Stage(
                out_channels=out,
                bottleneck_channels=middle,
                kernel=size,
                stride=space.strides[step],
                blocks=chosen,
            )
        )
    return Structure(
        stem=space.stem(int(grid.channels[0][stem])),
        stages=tuple(stages),
        head=space.head(problem.head_pairs.bits[head]),
        classifier=space.classifier,
        resolution=space.resolution,
    )
