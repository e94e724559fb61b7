"""How large the pictures of a source are, beside what a network takes."""

from __future__ import annotations

import numpy as np

from qedeploy.train.source import CorruptImageError, ImageSource

_LOOKED_AT = 50
_FAR_SMALLER = 2


def enlarged(source: ImageSource, resolution: int) -> str:
    """Return a sentence where a network of `resolution` pixels takes pictures far larger than the source has, or "".

    A few pictures, spread evenly, stand for all.
    """
    largest = 0
    for index in np.unique(np.linspace(0, len(source.labels) - 1, _LOOKED_AT, dtype=int)):
        try:
            largest = max(largest, *source.picture(int(index)).shape[:2])
        except CorruptImageError:
            continue  # The training names and counts them.
    if not 0 < largest * _FAR_SMALLER <= resolution:
        return ""
    times = (resolution / largest) ** 2
    return (
        f"pictures are at most {largest} pixels wide and high, and the network takes {resolution}: --resolution "
        f"{largest} gives one that takes them as they are, with a {times:.0f}th of the work for each picture"
    )
