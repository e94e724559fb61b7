"""Running a module in a process of its own: native code may crash there, and the parent says so in one line.

Requests go to the child's standard input, a line of JSON each; events and results come back as lines of JSON on what
was its standard output, which native code can no longer write to. The child ends when the parent does.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import IO, Any, Self

from qedeploy.errors import MissingRuntimeError, RequestError, UserError
from qedeploy.runtimes.nvidia.product import TENSORRT

Emit = Callable[[Mapping[str, Any]], None]
"""Sends one event to the parent: any JSON-ready mapping. May be called from several threads."""

Handle = Callable[[Mapping[str, Any], Emit], Mapping[str, Any]]
"""Answers one request with a JSON-ready result, reporting events meanwhile."""

_ERRORS = {error.exit_code: error for error in (UserError, RequestError, MissingRuntimeError)}


class ChildCrashedError(RequestError):
    """A child process died of a signal or left without an answer (exit code 3)."""


class Child:
    """A module that serves requests in a child process, for as long as this context lasts.

    `subject` is the file or thing that the report of a crash names, `label` the product that runs in it.
    """

    def __init__(self, module: str, *, subject: str, label: str = TENSORRT.label) -> None:
        # Safe path (-P): a folder of the user's called `tensorrt` must not shadow the package.
        self._command = [sys.executable, "-P", "-m", module]
        self._subject, self._label = subject, label
        self._opened = ExitStack()
        self._complaints: IO[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._complaints = self._opened.enter_context(tempfile.TemporaryFile())
        self._process = self._opened.enter_context(
            subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._complaints)
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
        self._opened.close()

    def ask(self, request: Mapping[str, Any], *, doing: str, on_event: Emit | None = None) -> Mapping[str, Any]:
        """Return the child's result; `on_event` receives what it reports meanwhile.

        `doing` completes the sentence "TensorRT crashed while ..." (`building`). Raises the child's own UserError,
        and ChildCrashedError with the signal and its last words if it dies.
        """
        if self._process is None or self._complaints is None:
            raise ValueError("the child process is asked before it is started")
        answer = _converse(self._process, request, on_event)
        if answer is None:
            code = self._process.wait()
            said = _crash(self._label, doing, code, _last_line(self._complaints))
            raise ChildCrashedError(f"{self._subject}: {said}")
        if "error" in answer:
            raise _ERRORS.get(answer["code"], RequestError)(answer["error"])
        result: Mapping[str, Any] = answer["result"]
        return result


def run_child(
    module: str,
    request: Mapping[str, Any],
    *,
    subject: str,
    doing: str,
    on_event: Emit | None = None,
    label: str = TENSORRT.label,
) -> Mapping[str, Any]:
    """Ask `module` one request in a child process of its own; as `Child.ask`."""
    with Child(module, subject=subject, label=label) as child:
        return child.ask(request, doing=doing, on_event=on_event)


def serve(handle: Handle) -> None:
    """Serve as the child: answer requests with `handle`, or with the reason for a failure, until the parent ends."""
    channel = _take_standard_output()
    lock = threading.Lock()

    def emit(event: Mapping[str, Any]) -> None:
        with lock:
            channel.write(json.dumps(event) + "\n")
            channel.flush()

    requests: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(requests,), daemon=True).start()
    while True:
        emit(_answer(handle, json.loads(requests.get()), emit))


def _answer(handle: Handle, request: Mapping[str, Any], emit: Emit) -> Mapping[str, Any]:
    try:
        return {"result": handle(request, emit)}
    except UserError as error:
        return {"error": str(error), "code": error.exit_code}
    except MemoryError:
        return {"error": "out of memory in this machine; close other programs", "code": RequestError.exit_code}
    except Exception as error:
        traceback.print_exc()
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        return {"error": f"unexpected in the child process: {reason}", "code": RequestError.exit_code}


def _listen(requests: queue.SimpleQueue[str]) -> None:
    for line in sys.stdin:
        requests.put(line)
    # The parent closed the pipe or is gone, even if it was killed. Destructors of native objects that may be in use
    # are the likeliest crash of all, and there is nothing left to lose: leave without them.
    os._exit(0)


def _converse(
    process: subprocess.Popen[bytes], request: Mapping[str, Any], on_event: Emit | None
) -> Mapping[str, Any] | None:
    if process.stdin is None or process.stdout is None:
        raise ValueError("the child process needs pipes")
    try:
        process.stdin.write(json.dumps(request).encode() + b"\n")
        process.stdin.flush()
    except BrokenPipeError:
        return None
    for line in process.stdout:
        message = json.loads(line)
        if "result" in message or "error" in message:
            answer: Mapping[str, Any] = message
            return answer
        if on_event is not None:
            on_event(message)
    return None


def _take_standard_output() -> IO[str]:
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return channel


def _crash(label: str, doing: str, code: int, last_line: str) -> str:
    if code < 0:
        names = {number.value: number.name for number in signal.Signals}
        how = f"crashed (signal {-code}, {names.get(-code, 'unknown')})"
        if -code == signal.SIGKILL:
            how += ", perhaps out of memory,"
    else:
        how = f"ended without an answer (exit status {code})"
    said = f"; its last words: {last_line}" if last_line else ""
    return f"{label} {how} while {doing}{said}"


def _last_line(complaints: IO[bytes]) -> str:
    complaints.seek(0)
    lines = complaints.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1].strip() if lines else ""
