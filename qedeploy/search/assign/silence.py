"""Keeping what native code prints out of standard output, which may be a document that somebody reads."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def native_output_silenced() -> Iterator[None]:
    """Let nothing that native code prints within reach standard output.

    HiGHS has a line for debugging that no option turns off. C keeps what is printed until its buffer is full, so that
    it is flushed before and after.
    """
    try:
        kept = os.dup(1)
    except OSError:
        # There is no standard output.
        yield
        return
    if sys.stdout is not None:
        sys.stdout.flush()
    _flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        _flush()
        os.dup2(kept, 1)
        os.close(nowhere)
        os.close(kept)


def _flush() -> None:
    # Where C's library cannot be found by that name there is nothing to flush by.
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).fflush(None)
