"""How a training is computed, by whom and with what: all that does not change what is learned but for rounding."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from qedeploy.train.data import Subset
from qedeploy.train.group import ProcessGroup
from qedeploy.train.preparation import Preparation
from qedeploy.train.transforms import Normaliser


class InterruptedTraining(KeyboardInterrupt):
    """A training that was told to stop and has saved where it is (exit code 130)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingProgress:
    """Where a training is, for whoever watches: steps of a stage, and means since the last row of the log."""

    stage: str
    step: int
    steps: int
    epoch: float
    epochs: float
    loss: float
    top1: float
    images_per_second: float
    best: float | None


Watch = Callable[[TrainingProgress], None]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Execution:
    """How a training is computed, which does not change what is learned but for rounding.

    `accumulate` is the number of parts that a process computes its batch in, `half` whether a GPU multiplies in
    bfloat16, `compiled` whether torch.compile makes kernels of the network.
    """

    group: ProcessGroup
    workers: int = 0
    accumulate: int = 1
    half: bool = True
    compiled: bool = False
    seed: int = 0

    @contextmanager
    def arithmetic(self) -> Iterator[None]:
        """Let the block multiply in bfloat16 where that is wanted and the device can."""
        cuda = self.group.device.type == "cuda"
        with torch.autocast("cuda", torch.bfloat16) if cuda and self.half else contextlib.nullcontext():
            yield


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pictures:
    """The images of a training: those to learn from and those to choose by, and what they go through."""

    train: Subset
    held_out: Subset
    preparation: Preparation
    normaliser: Normaliser


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingStage:
    """A pass of training: how many epochs, at which highest rate."""

    number: int
    name: str
    epochs: float
    rate: float


@contextmanager
def interruptions() -> Iterator[threading.Event]:
    """Yield what is set once Ctrl-C was pressed or the process was told to end; a second one ends it at once."""
    told = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield told
        return
    before = {}

    def handle(number: int, frame: Any) -> None:
        del frame
        told.set()
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, handle)
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
