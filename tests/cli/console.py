"""The real console script, in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SCRIPT = Path(sysconfig.get_path("scripts")) / "qedeploy"


def qedeploy(*arguments: object, cwd: Path | None = None, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Run `qedeploy` with `arguments`; a traceback is a failure whatever the exit code."""
    command = [str(SCRIPT), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout, cwd=cwd)
    assert "Traceback" not in done.stderr, done.stderr
    return done


@contextmanager
def started(*arguments: object, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    """Start `qedeploy` as a terminal does: a process group of its own, which Ctrl-C reaches and nothing outlives."""
    command = [str(SCRIPT), *map(str, arguments)]
    # Tests may run in the background of a script, where SIGINT is ignored and children inherit that.
    ours = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(
            command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
    finally:
        signal.signal(signal.SIGINT, ours)
    with process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def press_ctrl_c(process: subprocess.Popen[str], timeout: float = 120) -> str:
    """Interrupt the whole group, as a terminal does, and return what the process says on stderr before it ends."""
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=timeout)
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr, stderr
    return stderr
