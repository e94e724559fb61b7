"""What `quantize` needs of a runtime that computes in the types of the graph: the form that it wants networks in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from qedeploy.network.layers import Layer
    from qedeploy.qdq.dialect import Rounding


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedGraphs:
    """Graphs of float16 in which quantization is symmetric: what says Q and DQ is in integers, and nothing else is.

    `opset` is that of the files. `block_size` returns how many inputs of a layer with 4-bit weights share a scale, None
    where it cannot have such weights. `round_scale` returns positive scales as the graph's type holds them. `rounding`
    and `float_tolerance` say by how much float16 may change what the file computes where it is verified, as those of a
    dialect do.
    """

    label: str
    opset: int
    block_size: Callable[[Layer], int | None]
    round_scale: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    rounding: Rounding
    float_tolerance: float
