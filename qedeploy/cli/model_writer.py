"""Writing model.pth from a process of its own, which imports torch while the search still runs.

torch takes longer to import than the exact search takes to search, and in a thread the two would only slow each other.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from qedeploy.errors import UserError
from qedeploy.network.structure import Structure
from qedeploy.packages import require_package


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOrder:
    """A network to build with initialised weights, the same ones for the same seed, and where to write it."""

    path: Path
    structure: Structure
    unsigned_activation_bits: int
    seed: int
    profile: str
    recipe: Mapping[str, Any]

    def fulfil(self) -> None:
        """Build the network and write it; raises UserError where the folder does not take it."""
        from qedeploy.model.build import build
        from qedeploy.model.checkpoint import save_checkpoint

        network = build(self.structure, unsigned_activation_bits=self.unsigned_activation_bits, seed=self.seed)
        save_checkpoint(self.path, network, profile=self.profile, recipe=self.recipe)


class ModelWriter:
    """A process that is ready to write a model: leave the block and it is gone."""

    def __enter__(self) -> Self:
        require_package("torch", otherwise="--no-model leaves model.pth out")
        # Spawned, not forked: a fork of a process with threads may hang, and other systems have no fork.
        context = get_context("spawn")
        self._orders, inbox = context.Pipe()
        self._process = context.Process(target=_serve, args=(inbox,), daemon=True)
        self._process.start()
        inbox.close()
        return self

    def write(self, order: ModelOrder) -> None:
        """Write a model and wait for it; raises what `ModelOrder.fulfil` raises."""
        try:
            self._orders.send(order)
            failure = self._orders.recv()
        except (EOFError, OSError) as error:
            raise UserError(
                f"{order.path}: the process that writes it died (out of memory?); try --no-model"
            ) from error
        if failure is not None:
            raise failure

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._orders.close()
        self._process.terminate()
        self._process.join()


def _serve(inbox: Connection) -> None:
    # Ctrl-C reaches every process of the terminal; what has been found so far is still to be written.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import qedeploy.model.build
    import qedeploy.model.checkpoint  # noqa: F401

    try:
        order = inbox.recv()
        order.fulfil()
    except EOFError:
        return
    except UserError as error:
        inbox.send(error)
    else:
        inbox.send(None)
