"""Which parts of a search space to measure, and in which order: far apart first, so that a short run covers it all."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import TypeVar

import numpy as np

from qedeploy.export.benchmark_cases import BenchmarkCase, BlockShape, block_case, stem_case, tail_case
from qedeploy.latency.predictor import arithmetic
from qedeploy.network.costs import BITOPS_PER_FLOP, layer_flops
from qedeploy.network.layers import LayerCategory, expand_layers
from qedeploy.network.structure import Bits, Block, Stage, Structure
from qedeploy.profiles.profile import Profile
from qedeploy.search.costs.budgets.counted import BITOPS, EXECUTED_BITOPS, FLOPS
from qedeploy.search.costs.registry import Budgets
from qedeploy.search.space.layers import BLOCK_KINDS
from qedeploy.search.space.space import BitsPer, SearchSpace, bottleneck_channels
from qedeploy.search.space.space_layers import block_bits

POOL = 2048
"""Blocks to choose from: a power of two, as the low-discrepancy sequence requires."""

_LARGEST_SHARE = 1 / 3
"""Largest share of a budget of operations that one block of a network within the budget takes."""

_DEFAULT_FLOPS = 300e6
"""Where no budget limits operations: those of the published networks at 224 x 224."""

_ENDS = 12

T = TypeVar("T")


def stems(space: SearchSpace, around: Bits) -> list[BenchmarkCase]:
    """Return the stems to measure, all of them where there are few, the ends first."""
    chosen = _spread(space.stem_channels)
    return [stem_case(space.stem(channels), space.resolution, around) for channels in chosen]


def tails(space: SearchSpace, profile: Profile, around: Bits) -> list[BenchmarkCase]:
    """Return heads with the pooling and the classifier behind them, for input channels over the whole range."""
    size = sizes(space)[-1]
    pairs = {arithmetic(profile, LayerCategory.HEAD, bits): bits for bits in reversed(space.pairs[LayerCategory.HEAD])}
    return [
        tail_case(channels, space.head(bits), space.classifier, size, around)
        for channels in _spread(space.channels)
        for bits in pairs.values()
    ]


def blocks(
    space: SearchSpace, budgets: Budgets, profile: Profile, around: Bits, *, seed: int = 0, pool: int = POOL
) -> Iterator[BenchmarkCase]:
    """Yield blocks of the space, each the farthest from all before it, none larger than `budgets` allow.

    Distance is that of the logarithms of channels and sizes, with a step between kernels, strides and lowerings.
    """
    largest = _LARGEST_SHARE * _most_flops(budgets)
    drawn = dict.fromkeys(_drawn(space, profile, seed, pool))
    candidates = [shape for shape in drawn if _flops(shape, around) <= largest]
    if not candidates:
        return
    places = np.array([_place(shape) for shape in candidates])
    nearest = np.full(len(candidates), np.inf)
    chosen = int(np.argmin(np.linalg.norm(places - np.median(places, axis=0), axis=1)))
    for _ in candidates:
        yield block_case(candidates[chosen], around)
        nearest = np.minimum(nearest, np.linalg.norm(places - places[chosen], axis=1))
        nearest[chosen] = -1.0
        chosen = int(np.argmax(nearest))


def blocks_of(structures: Sequence[Structure], around: Bits) -> list[BenchmarkCase]:
    """Return every block that occurs in `structures`, once."""
    found: dict[BlockShape, None] = {}
    for structure in structures:
        layers = {layer.name: layer for layer in expand_layers(structure)}
        for number, stage in enumerate(structure.stages, start=1):
            for index, widths in enumerate(stage.blocks, start=1):
                first = layers[f"stage{number}.block{index}.{'expand' if widths.expand else 'depthwise'}"]
                found[_block_shape(first.in_channels, first.input_size, stage, index, widths)] = None
    return [block_case(shape, around) for shape in found]


def networks(space: SearchSpace, budgets: Budgets, profile: Profile, *, seed: int = 0) -> Iterator[Structure]:
    """Yield random structures that keep what `budgets` say of operations, without end; channels are log-uniform."""
    random = np.random.default_rng(seed)
    most = _most_flops(budgets)
    widths = _width_choices(space, profile)
    while True:
        structure = _random_structure(space, widths, random)
        if sum(layer_flops(layer) for layer in expand_layers(structure)) <= most:
            yield structure


def sizes(space: SearchSpace) -> list[int]:
    """Return the square input of each stage, then of the head, in pixels."""
    found = [-(-space.resolution // space.stem_stride)]
    for stride in space.strides:
        found.append(-(-found[-1] // stride))
    return found


def _drawn(space: SearchSpace, profile: Profile, seed: int, pool: int) -> Iterator[BlockShape]:
    from scipy.stats import qmc

    inputs = sizes(space)
    widths = _width_choices(space, profile)
    for row in qmc.Sobol(d=7, seed=seed).random(pool):
        stage = _pick(range(len(space.strides)), row[0])
        before = (*space.stem_channels,) if stage == 0 else space.channels
        out = _pick_log(space.channels, row[1])
        first = row[2] < 1 / 2
        # Every fifth first block keeps its channels, which is what gives it a shortcut, pooled where the stride is 2.
        keeps = not first or row[2] < 1 / 10
        smaller = [channels for channels in before if channels <= out]
        if not keeps and not smaller:
            continue
        yield BlockShape(
            in_channels=out if keeps else _pick_log(smaller, row[3]),
            bottleneck=bottleneck_channels(out, _pick(space.ratios, row[4])),
            out_channels=out,
            kernel=_pick(space.kernels, row[5]),
            stride=space.strides[stage] if first else 1,
            size=inputs[stage] if first else inputs[stage + 1],
            widths=_pick(widths, row[6]),
        )


def _random_structure(space: SearchSpace, widths: Sequence[Block], random: np.random.Generator) -> Structure:
    low, high = math.log(min(space.channels)), math.log(max(space.channels))
    wanted = np.sort(np.exp(random.uniform(low, high, len(space.strides))))
    stem = int(random.choice([c for c in space.stem_channels if c <= wanted[0]] or [min(space.stem_channels)]))
    stages = []
    before = stem
    for number, stride in enumerate(space.strides):
        fitting = [channels for channels in space.channels if channels >= before]
        out = min(fitting, key=lambda channels, goal=wanted[number]: abs(channels - goal))  # type: ignore[misc]
        depth = int(random.choice(space.depths[number]))
        stages.append(
            Stage(
                out_channels=out,
                bottleneck_channels=bottleneck_channels(out, float(random.choice(space.ratios))),
                kernel=int(random.choice(space.kernels)),
                stride=stride,
                blocks=tuple(widths[int(random.integers(len(widths)))] for _ in range(depth)),
            )
        )
        before = out
    pairs = space.pairs[LayerCategory.HEAD]
    return Structure(
        stem=space.stem(stem),
        stages=tuple(stages),
        head=space.head(pairs[int(random.integers(len(pairs)))]),
        classifier=space.classifier,
        resolution=space.resolution,
    )


def _width_choices(space: SearchSpace, profile: Profile) -> tuple[Block, ...]:
    """Return one choice of widths for each way in which a block of the space is computed."""
    if space.bits_per is BitsPer.BLOCK:
        choices = space.block_choices
    else:
        choices = tuple(
            Block(expand=expand, depthwise=depthwise, project=project)
            for expand, depthwise, project in product(*block_bits(space))
        )
    found = {
        tuple(arithmetic(profile, kind, bits) for kind, bits in zip(BLOCK_KINDS, block.layers(), strict=True)): block
        for block in reversed(choices)
    }
    return tuple(found.values())


def _block_shape(in_channels: int, size: int, stage: Stage, index: int, widths: Block) -> BlockShape:
    return BlockShape(
        in_channels=in_channels,
        bottleneck=stage.bottleneck_channels,
        out_channels=stage.out_channels,
        kernel=stage.kernel,
        stride=stage.stride if index == 1 else 1,
        size=size,
        widths=widths,
    )


def _flops(shape: BlockShape, around: Bits) -> float:
    case = block_case(shape, around)
    layers = expand_layers(case.structure)
    return sum(layer_flops(layer) for layer in layers if layer.block in (case.blocks or ()))


def _most_flops(budgets: Budgets) -> float:
    limits = [budgets[kind] / BITOPS_PER_FLOP for kind in (BITOPS, EXECUTED_BITOPS) if kind in budgets]
    limits += [budgets[kind] for kind in (FLOPS,) if kind in budgets]
    return min(limits, default=_DEFAULT_FLOPS)


def _place(shape: BlockShape) -> tuple[float, ...]:
    channels = (math.log2(shape.in_channels), math.log2(shape.bottleneck), math.log2(shape.out_channels))
    narrow = [2.0 * (bits.activation < 8) for bits in shape.widths.layers()]
    shortcut = 2.0 * (shape.in_channels == shape.out_channels)
    return (*channels, math.log2(shape.size), 1.0 * shape.kernel, 2.0 * shape.stride, shortcut, *narrow)


def _spread(values: Sequence[int]) -> list[int]:
    """Return at most `_ENDS` of ascending `values`, even on a logarithmic scale, the ends and the middle first."""
    if len(values) > _ENDS:
        wanted = np.geomspace(values[0], values[-1], _ENDS)
        values = sorted({min(values, key=lambda value: abs(value - goal)) for goal in wanted})
    order = np.argsort([_halving(index, len(values)) for index in range(len(values))], kind="stable")
    return [values[index] for index in order]


def _halving(index: int, count: int) -> int:
    """Return how often a range must be halved until it is cut at `index`."""
    if index in {0, count - 1}:
        return 0
    low, high, depth = 0, count - 1, 1
    while (middle := (low + high) // 2) != index:
        low, high = (middle, high) if index > middle else (low, middle)
        depth += 1
    return depth


def _pick(choices: Sequence[T], share: float) -> T:
    return choices[min(len(choices) - 1, int(share * len(choices)))]


def _pick_log(channels: Sequence[int], share: float) -> int:
    low, high = math.log(channels[0]), math.log(channels[-1])
    wanted = math.exp(low + share * (high - low))
    return min(channels, key=lambda value: abs(value - wanted))
