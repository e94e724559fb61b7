"""Running a module in a process of its own: native code may crash there, and the parent says so in one line.

The request goes to the child's standard input as one line of JSON; events and the result come back as lines of JSON
on what was its standard output, which native code can no longer write to. The child ends when the parent does.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Mapping
from typing import IO, Any

from qedeploy.errors import MissingRuntimeError, RequestError, UserError

Emit = Callable[[Mapping[str, Any]], None]
"""Sends one event to the parent: any JSON-ready mapping. May be called from several threads."""

_ERRORS = {error.exit_code: error for error in (UserError, RequestError, MissingRuntimeError)}


class ChildCrashedError(RequestError):
    """A child process died of a signal or left without an answer (exit code 3)."""


def run_child(
    module: str, request: Mapping[str, Any], *, doing: str, on_event: Emit | None = None
) -> Mapping[str, Any]:
    """Run `module` in a child process and return its result; `on_event` receives what it reports meanwhile.

    `doing` completes the sentence "TensorRT ... " for a crash (`building engine.plan`). Raises what the child raised
    where that is a UserError, and ChildCrashedError where the child dies, with the signal and its last words.
    """
    # Safe path (-P): a folder of the user's called `tensorrt` must not shadow the package.
    command = [sys.executable, "-P", "-m", module]
    with tempfile.TemporaryFile() as complaints:
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints) as process:
            try:
                answer = _converse(process, request, on_event)
            except BaseException:
                process.kill()
                raise
        if answer is None:
            raise ChildCrashedError(_crash(doing, process.returncode, _last_line(complaints)))
    if "error" in answer:
        raise _ERRORS.get(answer["code"], RequestError)(answer["error"])
    result: Mapping[str, Any] = answer["result"]
    return result


def serve(handle: Callable[[Mapping[str, Any], Emit], Mapping[str, Any]]) -> None:
    """Be the child: read the request, run `handle`, send back its result or the reason why there is none."""
    channel = _take_standard_output()
    lock = threading.Lock()

    def emit(event: Mapping[str, Any]) -> None:
        with lock:
            channel.write(json.dumps(event) + "\n")
            channel.flush()

    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    try:
        emit({"result": handle(request, emit)})
    except UserError as error:
        emit({"error": str(error), "code": error.exit_code})
    except MemoryError:
        emit({"error": "out of memory in this machine; close other programs", "code": RequestError.exit_code})
    except Exception as error:
        traceback.print_exc()
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        emit({"error": f"unexpected in the child process: {reason}", "code": RequestError.exit_code})
    # Destructors of half-built native objects are the likeliest crash of all, and there is nothing left to lose.
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


def _leave_with_parent() -> None:
    # The parent keeps the pipe open as long as it lives, even if it is killed and cannot end its child.
    sys.stdin.read()
    os._exit(1)


def _crash(doing: str, code: int, last_line: str) -> str:
    if code < 0:
        names = {number.value: number.name for number in signal.Signals}
        how = f"crashed (signal {-code}, {names.get(-code, 'unknown')})"
        if -code == signal.SIGKILL:
            how += ", perhaps for want of memory,"
    else:
        how = f"ended without an answer (exit status {code})"
    said = f"; its last words: {last_line}" if last_line else ""
    return f"TensorRT {how} while {doing}{said}"


def _last_line(complaints: IO[bytes]) -> str:
    complaints.seek(0)
    lines = complaints.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1].strip() if lines else ""
