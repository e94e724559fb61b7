"""What a file takes of a microcontroller: flash for the whole of it, SRAM for what is alive in its tensor arena.

Both are known where the profile's runtime plans memory ahead. The sizes are those of its kernels and tensors, not the
reference's accounting: `size` and `peak-memory` limit these on such profiles.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np

from qedeploy.latency.predictor import Role
from qedeploy.network.graph import structure_graph
from qedeploy.network.structure import IMAGE_CHANNELS, Structure
from qedeploy.profiles.memory_plan import MemoryPlan, PlannedSram
from qedeploy.search.costs.budget import AdditiveBudget, Budget, Part
from qedeploy.search.costs.peak_budget import BlockSize, PeakBudget
from qedeploy.search.space.layers import Array, Layers
from qedeploy.search.space.space import SearchSpace
from qedeploy.units import Quantity

_INT8_BITS = 8


def plan_of(space: SearchSpace) -> MemoryPlan:
    """Return how the device of `space` plans memory; raises ValueError where it does not."""
    if space.memory_plan is None:
        raise ValueError("the device of this space does not plan memory ahead")
    return space.memory_plan


def planned_sram(structure: Structure, space: SearchSpace) -> PlannedSram | None:
    """Return the plan of a structure, None where the device does not plan memory ahead."""
    return None if space.memory_plan is None else space.memory_plan.sram(structure_graph(structure))


@dataclass(frozen=True, slots=True, kw_only=True)
class Flash(AdditiveBudget):
    """Bytes of the file: at most, by names and tables that a file of ours has."""

    def known(self, space: SearchSpace) -> bool:
        """Say whether the device plans memory ahead."""
        return space.memory_plan is not None

    def constant(self, space: SearchSpace) -> float:
        """Return the classifier, and what every file has."""
        plan, classifier = plan_of(space), space.classifier
        weights = space.head_channels * classifier.classes * plan.weight_bytes(classifier.bits)
        return float(ceil(weights) + classifier.classes * plan.channel_bytes + plan.layer_bytes + plan.file_bytes)

    def parts(self, space: SearchSpace, layers: Layers) -> tuple[Part, ...]:
        """Return weights by their width, and the rest whatever it is."""
        plan, place = plan_of(space), layers.place
        kernel = plan.stored_kernel(layers.kernel, place.stride, ceil(place.size))
        weights = np.multiply(layers.fan_in, np.square(kernel)) * layers.out_channels
        rest = np.multiply(layers.out_channels, plan.channel_bytes) + plan.layer_bytes
        if place.role is Role.PROJECT:
            added = np.asarray(plan.addition_bytes)
            if place.block_stride == 2:
                added = added + plan.pooling_bytes(layers.out_channels, ceil(place.size * place.block_stride))
            rest = rest + np.where(layers.shortcut, added, 0)
        in_bytes = [plan.weight_bytes(bits) for bits in layers.pairs.bits]
        return (weights, np.array(in_bytes)), (rest, np.ones(len(layers.pairs)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Multipliers(AdditiveBudget):
    """Bytes of SRAM that kernels keep for output channels from the start, the classifier's among them."""

    def known(self, space: SearchSpace) -> bool:
        """Say whether the device plans memory ahead."""
        return space.memory_plan is not None

    def constant(self, space: SearchSpace) -> float:
        """Return those of the classifier."""
        return float(space.classifier.classes * plan_of(space).multiplier_bytes)

    def parts(self, space: SearchSpace, layers: Layers) -> tuple[Part, ...]:
        """Return those of each channel, and of the pooling of a shortcut."""
        plan, place = plan_of(space), layers.place
        kept = np.multiply(layers.out_channels, plan.multiplier_bytes)
        if place.role is Role.PROJECT and place.block_stride == 2:
            size = ceil(place.size * place.block_stride)
            kept = kept + np.where(layers.shortcut, plan.pooling_multipliers(layers.out_channels, size), 0)
        return ((kept, np.ones(len(layers.pairs))),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sram(PeakBudget):
    """Bytes of tensors and of what kernels work in that are alive at one time, for one image."""

    def known(self, space: SearchSpace) -> bool:
        """Say whether the device plans memory ahead."""
        return space.memory_plan is not None

    def cost(self, structure: Structure, space: SearchSpace) -> float:
        """Return what is alive by the plan of the whole network."""
        return float(plan_of(space).sram(structure_graph(structure)).alive)

    def stem(self, space: SearchSpace, channels: Array) -> Array:
        """Return what is alive in stems; an image of fewer than 8 bits is bounded first, into a tensor of its own."""
        plan, size, stride = plan_of(space), space.resolution, space.stem_stride
        image = plan.tensor(np.asarray(size**2 * IMAGE_CHANNELS))
        kernel = plan.stored_kernel(np.asarray(space.stem_kernel), stride, size)
        held = image + plan.tensor(ceil(size / stride) ** 2 * channels)
        held = held + plan.convolution_buffer(kernel, np.asarray(IMAGE_CHANNELS))
        return np.asarray(held if space.stem_bits.activation >= _INT8_BITS else np.maximum(held, 2 * image))

    def block(self, space: SearchSpace, blocks: BlockSize) -> Array:
        """Return what is alive in blocks: a shortcut stays until it is added, pooled just before that."""
        plan, stride = plan_of(space), blocks.stride
        into, middle, out = blocks.in_channels, blocks.bottleneck, blocks.out_channels
        size = ceil(blocks.size)
        area, area_after = size**2, ceil(blocks.size / stride) ** 2
        read, expanded = plan.tensor(area * into), plan.tensor(area * middle)
        filtered, made = plan.tensor(area_after * middle), plan.tensor(area_after * out)
        residual = np.equal(into, out)
        shortcut = np.where(residual, read, 0)
        kernel = plan.stored_kernel(blocks.kernel, stride, size)
        held = np.maximum(read + expanded, expanded + filtered + shortcut + plan.depthwise_buffer(kernel, middle))
        held = np.maximum(held, filtered + made + shortcut)
        added = 3 * made
        if stride == 2:
            added = np.maximum(added, read + 2 * made + plan.pooling_buffer(out, size))
        return np.asarray(np.where(residual, np.maximum(held, added), held))

    def head(self, space: SearchSpace, size: float, channels: Array) -> Array:
        """Return what is alive in heads, in the pooling of what they make, and in the classifier."""
        plan, area = plan_of(space), ceil(size) ** 2
        made, pooled = plan.tensor(np.asarray(area * space.head_channels)), np.asarray(space.head_channels)
        logits = plan.tensor(np.asarray(space.classifier.classes))
        behind = max(
            int(made + plan.tensor(pooled) + plan.mean_buffer(pooled)),
            int(plan.tensor(pooled) + logits),
            int(2 * logits),
        )
        return np.asarray(np.maximum(plan.tensor(area * channels) + made, behind))


FLASH: Budget = Flash(
    name="flash",
    key="planned_flash_bytes",
    label="planned flash, whole file",
    quantity=Quantity.BYTES,
    step=(1024.0, "a KiB of flash"),
    order=10,
)
SRAM: Budget = Sram(
    name="sram",
    key="planned_sram_bytes",
    label="planned SRAM, alive at once",
    quantity=Quantity.BYTES,
    step=(1024.0, "a KiB of SRAM"),
    order=11,
)
MULTIPLIERS: Budget = Multipliers(
    name="multipliers",
    key="planned_multiplier_bytes",
    label="planned SRAM, multipliers",
    quantity=Quantity.BYTES,
    step=(1024.0, "a KiB of multipliers"),
    order=12,
)
