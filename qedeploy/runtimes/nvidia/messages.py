"""TensorRT's own words: collected from its logger and read for what a user can act on."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from qedeploy.qdq.graph_builder import owner
from qedeploy.runtimes.nvidia.child import Emit
from qedeploy.runtimes.nvidia.engine_names import parse_engine_name

_NO_KERNEL = re.compile(r"[Cc]ould not find any implementation for node (?P<node>.+?)(?:\.?\)\s*$|\.\s*$|$)")
_NOISE = re.compile(r"\s*\[checkMacros\.cpp::.*")
_MEMORY = re.compile(
    r"out ?of ?memory|insufficient memory|insufficient workspace|increasing the workspace|"
    r"cudaErrorMemoryAllocation|cudaError 2\b|requested (?:size|amount)",
    re.IGNORECASE,
)


@dataclass(slots=True)
class Messages:
    """What TensorRT logged, warnings and errors; filled from its threads."""

    emit: Emit
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def take(self, severity: str, text: str) -> None:
        """Keep one message of the logger, by the name of its severity."""
        line = one_line(text)
        if severity in {"ERROR", "INTERNAL_ERROR"}:
            self.errors.append(line)
        elif severity == "WARNING" and line not in self.warnings:
            self.warnings.append(line)
            self.emit({"event": "warning", "text": line})

    def reason(self) -> str:
        """Return the errors as one line; TensorRT names the cause first and repeats itself after."""
        return "; ".join(dict.fromkeys(self.errors[:2])) or "it gave no reason"


def one_line(text: str) -> str:
    """Return TensorRT's `text` on one line, without the CUDA status that it appends to errors of its own."""
    return _NOISE.sub("", " ".join(text.split())) or text.strip()


def logger(trt: Any, messages: Messages) -> Any:
    """Return a TensorRT logger that fills `messages`."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, text: str) -> None:
            messages.take(severity.name, text)

    return Logger()


def node_without_kernel(errors: Sequence[str]) -> str | None:
    """Return the engine's name of the node that no kernel was found for, None where the errors say no such thing."""
    for error in errors:
        found = _NO_KERNEL.search(error)
        if found:
            return found["node"]
    return None


def layers_of(engine_name: str, layers: Collection[str]) -> tuple[str, ...]:
    """Return which of `layers` own a node that `engine_name` names, in that order.

    Where a layer's own node is among them only such layers count: a Q that a convolution absorbed carries the
    name of the layer that reads it.
    """
    names = parse_engine_name(engine_name).mentioned
    whole = tuple(dict.fromkeys(name for name in names if name in layers))
    return whole or tuple(dict.fromkeys(owner(name) for name in names if owner(name) in layers))


def speaks_of_memory(said: Iterable[str]) -> bool:
    """Return whether the messages say that GPU memory, or the workspace that was allowed, did not suffice."""
    return any(_MEMORY.search(text) for text in said)
