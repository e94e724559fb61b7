"""What the widths of a beginning leave to the layers behind it, where peak memory is limited.

A layer's input lies in memory beside its output, so what was chosen last decides how wide the next activation may be.
That is one number for each beginning, its burden, and a smaller one leaves more: after a layer, the widest activation
that may follow, negative; after an expand layer its own width, on which both of the next two layers depend. Infinite is
the burden of what already breaks the limit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from qedeploy.network.structure import Bits
from qedeploy.search.costs.peak_memory import (
    block_memory,
    depthwise_memory,
    expand_memory,
    head_memory,
    project_memory,
    stem_memory,
)
from qedeploy.search.exact.problem import BlockShapes, Problem
from qedeploy.search.space.layers import Array

Carry = Callable[[Array, Array, Array], Array]
"""Returns the burdens behind a choice, of the burdens before it, the states and the choices, one row each."""


def no_burden(burden: Array, state: Array, choice: Array) -> Array:
    """Return burdens where memory is not limited: none."""
    del state, choice
    return burden


def stem_burden(problem: Problem, channels: Array) -> Array:
    """Return the burden behind stems of these widths."""
    if problem.peak_memory is None:
        return np.zeros(channels.shape)
    return _left(problem, problem.entries, lambda width: stem_memory(problem.space, channels, width / 8))


def head_carry(problem: Problem, channels: Array) -> Carry:
    """Return how heads that read `channels`, one for each state, end a beginning."""
    if problem.peak_memory is None:
        return no_burden
    limit, widths = problem.peak_memory, _widths(problem.head_pairs.bits)

    def carry(burden: Array, state: Array, choice: Array) -> Array:
        held = head_memory(problem.space, problem.sizes[-1], channels[state], widths[choice] / 8)
        return _where((widths[choice] <= -burden) & (held <= limit), np.zeros(burden.shape))

    return carry


def block_carries(problem: Problem, blocks: BlockShapes, states: tuple[int, ...]) -> list[Carry]:
    """Return how the decisions of `blocks` carry burdens: one for all widths, or one for each layer."""
    if problem.peak_memory is None:
        return [no_burden] * (3 if problem.widths_per_layer else 1)
    limit, stride, size = problem.peak_memory, blocks.stride, blocks.size
    shapes = (blocks.in_channels, blocks.bottleneck, blocks.out_channels)
    into, middle, out = (np.broadcast_to(shape, states).ravel() for shape in shapes)
    first, second, third = (_widths(pairs.bits) for pairs in problem.block_pairs)

    def behind(state: Array, width: Array) -> Array:
        return _left(
            problem,
            problem.entries,
            lambda next_width: project_memory(middle[state], out[state], stride, size, width / 8, next_width / 8),
        )

    def whole(burden: Array, state: Array, choice: Array) -> Array:
        in_bytes = (first[choice] / 8, second[choice] / 8, third[choice] / 8, min(problem.entries) / 8)
        held = block_memory(into[state], middle[state], out[state], stride, size, in_bytes)
        return _where((first[choice] <= -burden) & (held <= limit), behind(state, third[choice]))

    def expand(burden: Array, state: Array, choice: Array) -> Array:
        del state
        return _where(first[choice] <= -burden, first[choice].astype(float))

    def depthwise(burden: Array, state: Array, choice: Array) -> Array:
        own, residual = second[choice] / 8, into[state] == out[state]
        left = _left(
            problem,
            sorted(set(third.tolist())),
            lambda width: depthwise_memory(
                residual, middle[state], out[state], stride, size, burden / 8, own, width / 8
            ),
        )
        return _where(expand_memory(into[state], middle[state], size, burden / 8, own) <= limit, left)

    def project(burden: Array, state: Array, choice: Array) -> Array:
        return _where(third[choice] <= -burden, behind(state, third[choice]))

    return [expand, depthwise, project] if problem.widths_per_layer else [whole]


def _widths(bits: Sequence[Bits]) -> Array:
    return np.array([pair.activation for pair in bits])


def _where(fits: Array, burden: Array) -> Array:
    return np.where(fits, burden, np.inf)


def _left(problem: Problem, widths: Sequence[int], held: Callable[[int], Array]) -> Array:
    """Return the negative of the widest of `widths`, ascending, that fits; infinite where none does."""
    limit = np.inf if problem.peak_memory is None else problem.peak_memory
    found: Array = np.array(np.inf)
    for width in widths:
        found = np.where(held(width) <= limit, -float(width), found)
    return found
