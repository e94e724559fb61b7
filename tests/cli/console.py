"""The real console script, in a process of its own."""

from __future__ import annotations

import subprocess
import sysconfig
from pathlib import Path

SCRIPT = Path(sysconfig.get_path("scripts")) / "qedeploy"


def qedeploy(*arguments: object, cwd: Path | None = None, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Run `qedeploy` with `arguments`; a traceback is a failure whatever the exit code."""
    command = [str(SCRIPT), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout, cwd=cwd)
    assert "Traceback" not in done.stderr, done.stderr
    return done
