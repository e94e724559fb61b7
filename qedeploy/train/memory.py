"""Memory of a training on a CPU: kept between steps, where the C library would give it back and fetch it anew."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
"""Numbers of two settings in glibc's malloc.h."""


def keep_memory() -> bool:
    """Let this process keep the memory that it frees; returns whether the C library can.

    A step frees activations that the next one needs in the same sizes. Large blocks go back to the system by default,
    which then has to clear every page of them again: a tenth of the time of a step.
    """
    if not sys.platform.startswith("linux"):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        return False
    return bool(library.mallopt(_MMAP_MAX, 0) and library.mallopt(_TRIM_THRESHOLD, 2**31 - 1))
