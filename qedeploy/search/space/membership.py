"""Whether a structure is one of a search space."""

from __future__ import annotations

from qedeploy.network.layers import LayerCategory
from qedeploy.network.structure import Block, Stage, Structure
from qedeploy.search.space.layers import BLOCK_KINDS
from qedeploy.search.space.space import BitsPer, SearchSpace, bottleneck_channels


def outside(structure: Structure, space: SearchSpace) -> str | None:
    """Return the first thing about a structure that the space does not have, or None."""
    stem = structure.stem.out_channels
    if stem not in space.stem_channels or structure.stem != space.stem(stem):
        return "stem: not one of the space"
    if tuple(stage.stride for stage in structure.stages) != space.strides:
        return "stages: other strides than the space's"
    widths = (stem, *(stage.out_channels for stage in structure.stages))
    for number, stage in enumerate(structure.stages):
        if not _stage_is_in(stage, widths[number], space.depths[number], space):
            return f"stage{number + 1}: its channels, kernel, depth or widths are not in the space"
    rebuilt = Structure(
        stem=structure.stem,
        stages=structure.stages,
        head=space.head(structure.head.bits),
        classifier=space.classifier,
        resolution=space.resolution,
    )
    if structure != rebuilt or structure.head.bits not in space.pairs[LayerCategory.HEAD]:
        return "head, classifier or resolution: not those of the space"
    return None


def _stage_is_in(stage: Stage, before: int, depths: tuple[int, ...], space: SearchSpace) -> bool:
    out = stage.out_channels
    return (
        out in space.channels
        and out >= before
        and stage.bottleneck_channels in {bottleneck_channels(out, ratio) for ratio in space.ratios}
        and stage.kernel in space.kernels
        and len(stage.blocks) in depths
        and all(_block_is_in(block, space) for block in stage.blocks)
    )


def _block_is_in(block: Block, space: SearchSpace) -> bool:
    if space.bits_per is BitsPer.BLOCK:
        return block in space.block_choices
    layers = zip(block.layers(), BLOCK_KINDS, strict=False)
    return block.expand is not None and all(bits in space.pairs[kind] for bits, kind in layers)
