"""The arms of an accuracy study: what its networks may differ in, and how one becomes another of its arm."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import TypeVar

import numpy as np

from qedeploy.network.layers import LayerCategory
from qedeploy.network.structure import Bits, Block, Stage, Structure
from qedeploy.search.space.layers import BLOCK_KINDS
from qedeploy.search.space.space import BitsPer, SearchSpace, bottleneck_channels

T = TypeVar("T")


class Arm(StrEnum):
    """What is the same in all networks of an arm."""

    WIDTHS_FIXED = "widths-fixed"
    SHAPES_FIXED = "shapes-fixed"
    FREE = "free"

    @property
    def meaning(self) -> str:
        """What the networks of the arm differ in."""
        return {
            Arm.WIDTHS_FIXED: "shapes differ, all at the same bit widths",
            Arm.SHAPES_FIXED: "bit widths differ, all of the same shape",
            Arm.FREE: "shapes and bit widths differ",
        }[self]


def at_fixed_widths(space: SearchSpace) -> SearchSpace:
    """Return the structures of `space` at one choice of widths for all their blocks and one for their heads.

    It is the middle one, by the product of its two widths, of those whose two widths differ least.
    """
    pairs = {kind: (_middle(choices, lambda bits: (bits,)),) for kind, choices in space.pairs.items()}
    if space.bits_per is BitsPer.LAYER:
        return dataclasses.replace(space, pairs=pairs)
    block = _middle(space.block_choices, Block.layers)
    pairs |= {kind: (bits,) for kind, bits in zip(BLOCK_KINDS, block.layers(), strict=True)}
    return dataclasses.replace(space, block_choices=(block,), pairs=pairs)


def has_widths(space: SearchSpace) -> bool:
    """Say whether structures of one shape can differ in their widths."""
    if space.bits_per is BitsPer.BLOCK and len(space.block_choices) > 1:
        return True
    kinds = (LayerCategory.HEAD,) if space.bits_per is BitsPer.BLOCK else tuple(space.pairs)
    return any(len(space.pairs[kind]) > 1 for kind in kinds)


def changed(structure: Structure, space: SearchSpace, arm: Arm, random: np.random.Generator) -> Structure:
    """Return `structure` with one thing changed that the arm lets differ; still one of `space`."""
    if arm is Arm.WIDTHS_FIXED:
        return _other_shape(structure, space, random)
    if arm is Arm.SHAPES_FIXED or (random.random() < 0.5 and has_widths(space)):
        return _other_widths(structure, space, random)
    return _other_shape(structure, space, random)


def _other_widths(structure: Structure, space: SearchSpace, random: np.random.Generator) -> Structure:
    blocks = [(number, index) for number, stage in enumerate(structure.stages) for index in range(len(stage.blocks))]
    place = int(random.integers(len(blocks) + 1))
    if place == len(blocks):
        return dataclasses.replace(structure, head=space.head(_pick(space.pairs[LayerCategory.HEAD], random)))
    number, index = blocks[place]
    stage = structure.stages[number]
    block = _other_block(stage.blocks[index], space, random)
    return _with_stage(structure, number, blocks=(*stage.blocks[:index], block, *stage.blocks[index + 1 :]))


def _other_block(block: Block, space: SearchSpace, random: np.random.Generator) -> Block:
    if space.bits_per is BitsPer.BLOCK:
        return _pick(space.block_choices, random)
    part, kind = _pick(list(zip(("expand", "depthwise", "project"), BLOCK_KINDS, strict=True)), random)
    return dataclasses.replace(block, **{part: _pick(space.pairs[kind], random)})


def _other_shape(structure: Structure, space: SearchSpace, random: np.random.Generator) -> Structure:
    number = int(random.integers(-1, len(structure.stages)))
    if number < 0:
        fitting = [channels for channels in space.stem_channels if channels <= structure.stages[0].out_channels]
        return dataclasses.replace(structure, stem=space.stem(_pick(fitting, random)))
    stage = structure.stages[number]
    what = int(random.integers(4))
    if what == 0:
        return _with_channels(structure, number, space, random)
    if what == 1:
        return _with_stage(structure, number, kernel=_pick(space.kernels, random))
    if what == 2:
        inner = bottleneck_channels(stage.out_channels, _pick(space.ratios, random))
        return _with_stage(structure, number, bottleneck_channels=inner)
    depth = _pick(space.depths[number], random)
    # A block that is added has the widths of the last.
    return _with_stage(structure, number, blocks=(*stage.blocks, *[stage.blocks[-1]] * depth)[:depth])


def _with_channels(structure: Structure, number: int, space: SearchSpace, random: np.random.Generator) -> Structure:
    """Return a structure whose stage has other channels, between those before and behind it, at about its ratio."""
    stages = structure.stages
    low = stages[number - 1].out_channels if number else structure.stem.out_channels
    high = stages[number + 1].out_channels if number + 1 < len(stages) else max(space.channels)
    out = _pick([channels for channels in space.channels if low <= channels <= high], random)
    ratio = stages[number].bottleneck_channels / stages[number].out_channels
    nearest = min(space.ratios, key=lambda one: abs(one - ratio))
    return _with_stage(structure, number, out_channels=out, bottleneck_channels=bottleneck_channels(out, nearest))


def _with_stage(structure: Structure, number: int, **values: object) -> Structure:
    stage: Stage = dataclasses.replace(structure.stages[number], **values)  # type: ignore[arg-type]
    return dataclasses.replace(structure, stages=(*structure.stages[:number], stage, *structure.stages[number + 1 :]))


def _middle(choices: Sequence[T], widths: Callable[[T], tuple[Bits, ...]]) -> T:
    """Return the middle choice by product of its widths, of those whose weights and activations differ least."""

    def unevenness(choice: T) -> int:
        return sum(abs(bits.weight - bits.activation) for bits in widths(choice))

    least = min(map(unevenness, choices))
    even = [choice for choice in choices if unevenness(choice) == least]
    ordered = sorted(even, key=lambda choice: sum(bits.weight * bits.activation for bits in widths(choice)))
    return ordered[(len(ordered) - 1) // 2]


def _pick(choices: Sequence[T], random: np.random.Generator) -> T:
    return choices[int(random.integers(len(choices)))]
