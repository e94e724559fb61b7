"""Spaces small enough to look at every structure, and the plain way to do that."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations_with_replacement, product
from math import prod

from qedeploy.network.costs import executed_bitops, structure_costs
from qedeploy.network.graph import structure_graph
from qedeploy.network.layers import LayerCategory, expand_layers
from qedeploy.network.structure import Bits, Block, Classifier, Stage, Structure
from qedeploy.profiles.capabilities import memory_plan_of
from qedeploy.search.costs.budget import Budget
from qedeploy.search.costs.budgets.counted import BITOPS, EXECUTED_BITOPS, FLOPS, LAYERS, SIZE
from qedeploy.search.costs.budgets.latency import LATENCY
from qedeploy.search.costs.budgets.peak_memory import PEAK_MEMORY
from qedeploy.search.costs.budgets.planned import MULTIPLIERS, SRAM
from qedeploy.search.score.kinds.qe_score import QeScore, qe_score, score_stages
from qedeploy.search.space.space import BitsPer, SearchSpace, bottleneck_channels
from tests.search.made_up_latency import MadeUpLatency

MOST_STRUCTURES = 600


@dataclass(frozen=True, slots=True)
class Measured:
    structure: Structure
    score: float
    costs: dict[Budget, float]


def random_space(seed: int, most: int = MOST_STRUCTURES, *, planned: bool = False) -> SearchSpace:
    """A random space with 2 to `most` structures; `planned` for a device of LiteRT's, which plans memory ahead."""
    chance = random.Random(seed)
    while True:
        space = _draw(chance, planned=planned)
        if 2 <= count(space) <= most:
            return space


def count(space: SearchSpace) -> int:
    """How many structures a space has."""
    triples = [
        len(space.pairs[kind]) for kind in (LayerCategory.POINTWISE, LayerCategory.DEPTHWISE, LayerCategory.POINTWISE)
    ]
    blocks = prod(triples) if space.bits_per is BitsPer.LAYER else len(space.block_choices)
    widths = combinations_with_replacement(space.channels, len(space.strides))
    channels = sum(stem <= out[0] for stem, out in product(space.stem_channels, widths))
    shapes = (len(space.kernels) * len(space.ratios)) ** len(space.strides)
    depths = prod(sum(blocks**depth for depth in depths) for depths in space.depths)
    return channels * shapes * depths * len(space.pairs[LayerCategory.HEAD])


def structures(space: SearchSpace) -> Iterator[Structure]:
    """Every structure of a space, one after another."""
    pointwise, depthwise = space.pairs[LayerCategory.POINTWISE], space.pairs[LayerCategory.DEPTHWISE]
    blocks = space.block_choices
    if space.bits_per is BitsPer.LAYER:
        blocks = tuple(Block(expand=a, depthwise=b, project=c) for a, b, c in product(pointwise, depthwise, pointwise))
    widths = combinations_with_replacement(space.channels, len(space.strides))
    for stem, out in product(space.stem_channels, widths):
        if stem > out[0]:
            continue
        choices = (_stages(space, number, channels, blocks) for number, channels in enumerate(out))
        for stages, head in product(product(*choices), space.pairs[LayerCategory.HEAD]):
            yield Structure(
                stem=space.stem(stem),
                stages=stages,
                head=space.head(head),
                classifier=space.classifier,
                resolution=space.resolution,
            )


def measured(space: SearchSpace) -> list[Measured]:
    """Score and costs of every structure, by the scalar reference code."""
    return [
        Measured(structure, qe_score(structure, space.score), costs_of(space, structure))
        for structure in structures(space)
    ]


def costs_of(space: SearchSpace, structure: Structure) -> dict[Budget, float]:
    costs = structure_costs(structure)
    executed = {
        layer.name: space.executed.get((layer.category, layer.bits), layer.bits) for layer in expand_layers(structure)
    }
    plan = space.memory_plan
    sram = None if plan is None else plan.sram(structure_graph(structure))
    return {
        **({} if sram is None else {SRAM: float(sram.alive), MULTIPLIERS: float(sram.multipliers)}),
        BITOPS: costs.bitops,
        EXECUTED_BITOPS: executed_bitops(structure, executed),
        FLOPS: costs.flops,
        SIZE: costs.size_bytes,
        PEAK_MEMORY: costs.peak_memory_bytes,
        LAYERS: float(costs.layers),
        LATENCY: space.latency.seconds(structure_graph(structure)),
    }


def _stages(space: SearchSpace, number: int, channels: int, blocks: tuple[Block, ...]) -> list[Stage]:
    return [
        Stage(
            out_channels=channels,
            bottleneck_channels=bottleneck_channels(channels, ratio),
            kernel=kernel,
            stride=space.strides[number],
            blocks=chosen,
        )
        for kernel, ratio, depth in product(space.kernels, space.ratios, space.depths[number])
        for chosen in product(blocks, repeat=depth)
    ]


def _draw(chance: random.Random, *, planned: bool = False) -> SearchSpace:
    wide = () if planned else (16,)
    bits = [Bits(weight=w, activation=a) for w in (2, 3, 4, 5, 6, 8, *wide) for a in (3, 4, 5, 6, 8, *wide)]
    some = lambda values, low, high: tuple(sorted(chance.sample(list(values), chance.randint(low, high))))  # noqa: E731
    strides = tuple(chance.choice((1, 2)) for _ in range(chance.randint(1, 3)))
    pointwise = some(bits, 1, 3)
    depthwise = pointwise if chance.random() < 0.5 else some(bits, 1, 2)
    pairs = {
        LayerCategory.POINTWISE: pointwise,
        LayerCategory.DEPTHWISE: depthwise,
        LayerCategory.HEAD: some(bits, 1, 2),
    }
    blocks = tuple(
        Block(expand=pair, depthwise=middle, project=pair)
        for pair in pointwise
        for middle in ((pair,) if pair in depthwise else depthwise)
    )
    stem_bits = chance.choice((Bits(weight=8, activation=8), Bits(weight=4, activation=8)))
    wider = {4: 8, 6: 8}
    executed = {
        (kind, pair): Bits(weight=wider.get(pair.weight, pair.weight), activation=wider.get(pair.activation, 16))
        for kind, found in (*pairs.items(), (LayerCategory.STEM, (stem_bits,)))
        for pair in found
    }
    ends = score_stages((2, *strides, 1))
    return SearchSpace(
        resolution=chance.choice((32, 48, 50, 33)),
        stem_channels=some((8, 16, 24), 1, 2),
        stem_kernel=3,
        stem_stride=2,
        stem_bits=stem_bits,
        strides=strides,
        channels=some((8, 16, 24, 32, 40, 64), 1, 3),
        kernels=some((3, 5, 7), 1, 2),
        ratios=some((1.0, 1.5, 2.0, 3.0), 1, 2),
        depths=tuple(some((1, 2, 3), 1, 2) for _ in strides),
        bits_per=chance.choice((BitsPer.BLOCK, BitsPer.LAYER)),
        block_choices=blocks,
        pairs=pairs,
        executed=executed,
        head_channels=chance.choice((32, 64)),
        classifier=Classifier(classes=10),
        score=QeScore(stage_ratios=tuple(chance.choice((0.0, 1.0, 1.0, 2.0, 6.0)) for _ in ends)),
        latency=MadeUpLatency(chance.randrange(1000)),
        memory_plan=memory_plan_of("litert") if planned else None,
    )
