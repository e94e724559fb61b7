"""Bytes of activations alive at once: a maximum over layers, which the exact search keeps beside its sums."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qedeploy.network.costs import structure_costs
from qedeploy.network.layers import LayerCategory
from qedeploy.network.structure import Structure
from qedeploy.search.costs.budget import Budget
from qedeploy.search.costs.peak_memory import block_memory, head_memory, stem_memory
from qedeploy.search.costs.population import Population
from qedeploy.search.space.layers import Array
from qedeploy.search.space.space import BitsPer, SearchSpace, bottleneck_channels
from qedeploy.search.space.space_layers import block_bits
from qedeploy.units import Quantity


@dataclass(frozen=True, slots=True, kw_only=True)
class PeakMemory(Budget):
    """Peak activation memory by the accounting of `network.costs`."""

    def cost(self, structure: Structure, space: SearchSpace) -> float:
        """Return the bytes that `structure` needs."""
        del space
        return structure_costs(structure).peak_memory_bytes

    def costs(self, space: SearchSpace, population: Population) -> Array:
        """Return the bytes that N structures need, [N]."""
        shapes = population.shapes
        size = space.resolution / space.stem_stride
        head_bytes = population.made.head_pairs.activation[shapes.head] / 8
        expand, depthwise, project = (
            np.stack([_padded(pairs.activation)[stage.chosen[position]] for stage in population.stages])
            for position, pairs in enumerate(population.made.block_pairs)
        )
        entries = [*expand[:, 0], head_bytes]
        peak = stem_memory(space, shapes.stem, entries[0])
        before = shapes.stem
        for stage, stride in enumerate(space.strides):
            out, bottleneck, depth = shapes.channels[stage], shapes.bottlenecks[stage], shapes.depths[stage]
            for block in range(shapes.widths.shape[1]):
                following = entries[stage + 1]
                if block + 1 < shapes.widths.shape[1]:
                    following = np.where(depth > block + 1, expand[stage, block + 1], following)
                bits = (expand[stage, block], depthwise[stage, block], project[stage, block], following)
                memory = block_memory(before, bottleneck, out, stride if block == 0 else 1, size, bits)
                peak = np.where(depth > block, np.maximum(peak, memory), peak)
                before, size = out, size / stride if block == 0 else size
        return np.asarray(np.maximum(peak, head_memory(space, size, before, head_bytes)))

    def least(self, space: SearchSpace) -> float:
        """Return the fewest bytes that a structure of `space` needs."""
        return _least_peak_memory(space)


PEAK_MEMORY: Budget = PeakMemory(
    name="peak-memory",
    key="peak_memory_bytes",
    label="peak activation memory",
    quantity=Quantity.BYTES,
    step=(1024.0, "a KiB of activations"),
    order=4,
)


def _padded(activation: Array) -> Array:
    return np.append(activation / 8, 0.0)


def _least_peak_memory(space: SearchSpace) -> float:
    """Return the least maximum, by the channels and by the activation width that the next block begins with.

    Only the activation widths matter. A triple of them that another one nowhere exceeds is never needed: memory grows
    with each of them, that of the layer in front too.
    """
    channels, stems = np.array(space.channels), np.array(space.stem_channels)
    triples = _least_activations(space)
    head_bits = min(bits.activation for bits in space.pairs[LayerCategory.HEAD])
    entries = sorted({triple[0] for triple in triples} | {head_bits})
    begins = [entries.index(triple[0]) for triple in triples]
    # least[i, e]: the least peak so far with channels i, when the next layer reads activations of width e.
    least = stem_memory(space, stems[:, None], np.array(entries) / 8)
    before, size = stems, space.resolution / space.stem_stride
    for stride, depths in zip(space.strides, space.depths, strict=True):
        narrower = (before[:, None] > channels)[:, :, None]
        memory = _block_memories(space, before[:, None, None], stride, size, triples, entries)
        memory = np.maximum(memory, np.where(narrower, np.inf, 0.0))
        reached = np.maximum(least[:, begins].T[:, :, None, None], memory).min(axis=(0, 1))
        memory = _block_memories(space, channels[None, :, None], 1, size / stride, triples, entries)[:, 0]
        least = np.full_like(reached, np.inf)
        for depth in range(1, max(depths) + 1):
            if depth > 1:
                reached = np.maximum(reached[:, begins].T[:, :, None], memory).min(axis=0)
            if depth in depths:
                least = np.minimum(least, reached)
        before, size = channels, size / stride
    head = head_memory(space, size, before, head_bits / 8)
    return float(np.maximum(least[:, entries.index(head_bits)], head).min())


def _block_memories(
    space: SearchSpace, before: Array, stride: int, size: float, triples: list[tuple[int, int, int]], entries: list[int]
) -> Array:
    """Return the peak memory of blocks, [triples, channels in, channels out, entry widths of the layer behind]."""
    out, bottleneck = np.array(space.channels)[:, None], _least_bottlenecks(space)[:, None]
    following = np.array(entries) / 8
    return np.stack(
        [
            block_memory(before, bottleneck, out, stride, size, (first / 8, second / 8, third / 8, following))
            for first, second, third in triples
        ]
    )


def _least_activations(space: SearchSpace) -> list[tuple[int, int, int]]:
    bits = block_bits(space)
    if space.bits_per is BitsPer.LAYER:
        least = [min(pair.activation for pair in pairs) for pairs in bits]
        return [(least[0], least[1], least[2])]
    triples = {(one.activation, two.activation, three.activation) for one, two, three in zip(*bits, strict=True)}
    return sorted(
        triple
        for triple in triples
        if not any(other != triple and all(a <= b for a, b in zip(other, triple, strict=True)) for other in triples)
    )


def _least_bottlenecks(space: SearchSpace) -> Array:
    return np.array([bottleneck_channels(out, min(space.ratios)) for out in space.channels])
