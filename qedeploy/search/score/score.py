"""What a score is: a number for a structure, larger is better, and where it adds up over layers, its terms as arrays.

A score that adds up over layers is one file in `kinds/` (or a module of one's own that calls `registry.add_score`): a
frozen dataclass of its settings with a name and `shape_term`, `pair_term`, or both. The exact search, evolution and
`verify` then take it like the scores that are there.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np

from qedeploy.errors import RequestError
from qedeploy.network.layers import LayerCategory
from qedeploy.network.structure import Bits, Convolution, Stage, Structure
from qedeploy.search.space.layers import Array, Layers, structure_layers


@dataclass(frozen=True, slots=True, kw_only=True)
class Score(ABC):
    """A score with its settings; where it adds up, with b counting the blocks (here the stem, the stages, the head).

        score = sum_b w_b * (sum over the layers of b of shape_term + pair_term) + sum_b e_b * end_term(C_out of b),

    where w and e are `weights`. A score that does not add up so says why in `obstacle`, overrides
    `population_weights`, and is searched by evolution only.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid", "allow_inf_nan": False}
    name: ClassVar[str]
    """What a recipe calls it: `kind` in its [score]."""

    label: ClassVar[str]
    """What a person reads."""

    obstacle: ClassVar[str | None] = None
    """Why the score is no sum over layers, None where it is one."""

    @abstractmethod
    def of(self, structure: Structure) -> float:
        """Return the score of `structure`, layer by layer: by this figure structures are judged."""

    def shape_term(self, layers: Layers) -> Array:
        """Return what the shapes of layers add, whatever their widths."""
        return np.zeros(np.broadcast_shapes(np.shape(layers.in_channels), np.shape(layers.out_channels)))

    def pair_term(self, kind: LayerCategory, bits: Bits) -> float:
        """Return what the widths of a layer add, whatever its shape."""
        del kind, bits
        return 0.0

    def end_term(self, out_channels: Array) -> Array:
        """Return what a block adds that puts out so many channels."""
        return np.zeros(np.shape(out_channels))

    def weights(self, strides: Sequence[int]) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return how often the layers of each block count, and how often its end; `strides` are those of the blocks.

        Raises UserError where the settings do not fit so many blocks.
        """
        return (1.0,) * len(strides), (0.0,) * len(strides)

    def population_weights(
        self, strides: Sequence[int], resolution: int, out_channels: Sequence[Array]
    ) -> Sequence[Array | float]:
        """Return how often the layers of each block count in N structures that put out so many channels there."""
        del resolution, out_channels
        return self.weights(strides)[0]

    def document(self) -> dict[str, Any]:
        """Return name and settings as JSON-ready data, in the form of a recipe's [score]."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {"kind": self.name} | {key: list(v) if isinstance(v, tuple) else v for key, v in found.items()}


class AdditiveScore(Score):
    """A score of which the terms say everything: a structure's is the sum of them."""

    __slots__ = ()

    def of(self, structure: Structure) -> float:
        """Return the sum of the terms of all layers of `structure`, each on its own."""
        blocks: tuple[Convolution | Stage, ...] = (structure.stem, *structure.stages, structure.head)
        weights, ends = self.weights([block.stride for block in blocks])
        terms = [weights[block] * self._layer(layers) for block, layers in structure_layers(structure)]
        widths = zip(ends, blocks, strict=True)
        return math.fsum([*terms, *(end * float(self.end_term(np.array(b.out_channels))) for end, b in widths if end)])

    def _layer(self, layers: Layers) -> float:
        pairs = layers.pairs
        return float(self.shape_term(layers)) + self.pair_term(pairs.kind, pairs.bits[0])


def require_additive(score: Score, method: str) -> None:
    """Raise RequestError where the score is no sum over layers, which `method` needs."""
    if score.obstacle is not None:
        raise RequestError(
            f"score {score.name}: the {method} method needs a score that is a sum over layers, and this one "
            f"{score.obstacle}: search with --method evolution, or take kind = 'madnas' in [score]"
        )
