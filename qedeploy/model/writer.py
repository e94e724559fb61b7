"""Writing model.pth from a process of its own, which imports torch while the search still runs.

torch takes longer to import than the exact search takes to search, and in a thread the two would only slow each other.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from qedeploy.errors import MissingRuntimeError, RequestError, UserError
from qedeploy.packages import require_package

if TYPE_CHECKING:
    from qedeploy.network.structure import Structure
    from qedeploy.search.request import Request

_START = """import json, sys
sys.path[:] = json.loads(sys.argv[1])
from qedeploy.model.writer import serve
serve()"""

_ERRORS = {kind.__name__: kind for kind in (UserError, RequestError, MissingRuntimeError)}


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

    def document(self) -> dict[str, Any]:
        """Return the order as JSON-ready data."""
        from qedeploy.network.structure_file import to_document

        return {
            "path": str(self.path),
            "structure": to_document(self.structure),
            "unsigned_activation_bits": self.unsigned_activation_bits,
            "seed": self.seed,
            "profile": self.profile,
            "recipe": dict(self.recipe),
        }

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Return the order of a `document`."""
        from qedeploy.network.structure_file import from_document

        path, structure = Path(document["path"]), from_document(document["structure"], "model order")
        return cls(**{**document, "path": path, "structure": structure})


def model_writing(seed: int, writer: ModelWriter | None = None) -> Callable[[Path, Request, Structure], None]:
    """Return what writes a network of a search, its weights initialised by `seed`: here, or with a `writer` there."""

    def write(path: Path, request: Request, structure: Structure) -> None:
        order = ModelOrder(
            path=path,
            structure=structure,
            unsigned_activation_bits=request.profile.unsigned_activation_bits,
            seed=seed,
            profile=request.profile_argument,
            recipe=request.document()["recipe"],
        )
        if writer is None:
            order.fulfil()
        else:
            writer.write(order)

    return write


class ModelWriter:
    """What is ready to write a model: a process of its own, or this one where torch is imported already.

    Leave the block and the process is gone.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        require_package("torch", otherwise="--no-model leaves model.pth out")
        if "torch" not in sys.modules:
            # A program of its own and no fork, nor a copy of the caller's script, which might search once more. In a
            # group of its own, which Ctrl-C does not reach: what has been found so far is still to be written.
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, json.dumps(sys.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                process_group=0,
            )
        return self

    def write(self, order: ModelOrder) -> None:
        """Write a model and wait for it; raises what `ModelOrder.fulfil` raises."""
        if self._process is None:
            order.fulfil()
            return
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(json.dumps(order.document()), file=self._process.stdin, flush=True)
            answer = self._process.stdout.readline()
        except OSError:
            answer = ""
        if not answer:
            raise UserError(f"{order.path}: the process that writes it died (out of memory?); try --no-model")
        failure = json.loads(answer)
        if failure is not None:
            raise _ERRORS[failure["kind"]](failure["message"])

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()


def serve() -> None:
    """Write the model that standard input orders, and answer with None or the error: one line of JSON each."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    # Whatever a library prints is no answer.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    import qedeploy.model.build
    import qedeploy.model.checkpoint  # noqa: F401

    line = sys.stdin.readline()
    if not line:
        return
    failure = None
    try:
        ModelOrder.of(json.loads(line)).fulfil()
    except UserError as error:
        failure = {"kind": type(error).__name__, "message": str(error)}
    print(json.dumps(failure), file=answers, flush=True)
