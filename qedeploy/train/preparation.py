"""What every picture goes through on its way into a network."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """What every picture goes through: `channels` and `size` of the network, and the centre crop's share."""

    channels: int
    size: int
    crop_share: float
    class_places: NDArray[np.int64] = field(repr=False)
    strict: bool = False
