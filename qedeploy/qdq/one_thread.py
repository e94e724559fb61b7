"""PyTorch on one thread, for the small operations of calibration and simulation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Let PyTorch compute on one thread: its threads wait for each other in every small operation.

    On two idle cores that costs a second; on two busy ones the threads took eight times as long as one.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
