"""What every kind of data looks like from outside: labelled pictures, one at a time, by their number."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from qedeploy.errors import UserError


class CorruptImageError(UserError):
    """A picture that cannot be decoded: the message names it."""


class ImageSource(Protocol):
    """Labelled pictures. Implementations hold what finds a picture, not the pictures, unless they came as arrays."""

    @property
    def location(self) -> Path:
        """The folder or file that the pictures come from."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes: a label is a place among them."""
        ...

    @property
    def labels(self) -> NDArray[np.int64]:
        """The label of every picture, (count,)."""
        ...

    def name(self, index: int) -> str:
        """Return what a message calls a picture."""
        ...

    def picture(self, index: int) -> NDArray[np.uint8]:
        """Return a picture as (height, width, 1 or 3); raises CorruptImageError."""
        ...


def fingerprint(source: ImageSource) -> str:
    """Return a hash of which pictures there are in which class, not of their pixels."""
    digest = hashlib.sha256("\n".join(source.classes).encode())
    digest.update(np.ascontiguousarray(source.labels).tobytes())
    count = len(source.labels)
    for index in range(0, count, max(1, count // 1000)):
        digest.update(Path(source.name(index)).name.encode())
    return digest.hexdigest()[:16]
