"""The border of the command line: one line and a documented exit code, whatever happens."""

from __future__ import annotations

import errno
import subprocess
import sys

import pytest

from qedeploy.cli.failures import FAULT, failure
from qedeploy.errors import MissingRuntimeError, RequestError, UserError
from qedeploy.printable import one_line
from tests.cli.console import SCRIPT, qedeploy


@pytest.mark.parametrize(
    ("error", "line", "code"),
    [
        (UserError("a: no"), "error: a: no", 2),
        (UserError("a\x1b[2J\n[/red]\udcff: no"), r"error: a\x1b[2J\n[/red]\udcff: no", 2),
        (RequestError("too small"), "error: too small", 3),
        (MissingRuntimeError("none"), "error: none", 4),
        (OSError(errno.ELOOP, "Too many levels of symbolic links", "a/b"), "error: a/b: Too many levels", 2),
        (OSError(errno.ENAMETOOLONG, "File name too long", "x" * 9), "error: xxxxxxxxx: File name too long", 2),
        (MemoryError(), "error: this machine has not enough memory", 3),
        (KeyError("x\x1b"), r"error: a fault of qedeploy itself (KeyError: 'x\x1b'", FAULT),
        (RecursionError("maximum"), "error: a fault of qedeploy itself (RecursionError: maximum", FAULT),
        (ModuleNotFoundError("No module named 'nowhere'", name="nowhere"), "error: a fault of qedeploy itself", FAULT),
    ],
)
def test_every_error_is_a_line(error, line, code):
    text, found = failure(error)
    assert text.startswith(line)
    assert found == code
    assert "\n" not in text


def test_a_fault_says_where_it_is_and_how_to_report_it():
    with pytest.raises(TypeError) as caught:
        one_line(12)
    text, _ = failure(caught.value)
    assert "printable.py, line " in text
    assert "please report it, with what --debug adds; https://" in text


BROKEN = """
import typer
from qedeploy.cli import main
broken = typer.Typer(add_completion=False)
broken.command()(lambda: 1 / 0)
main.APPLICATIONS["broken"] = broken
main.main()
"""


@pytest.mark.parametrize("debug", [False, True])
def test_a_traceback_is_shown_to_who_asks_for_it(debug):
    command = [sys.executable, "-c", BROKEN, "broken", *(["--debug"] if debug else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == FAULT
    assert ("Traceback" in done.stderr) == debug
    assert done.stderr.splitlines()[-1].startswith("error: a fault of qedeploy itself (ZeroDivisionError: division by")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("[/red]\x1b[31m",), r"error: No such command '[/red]\x1b[31m'"),
        (("score", "--stage-ratios"), "error: Option '--stage-ratios' requires an argument."),
        (("bench", "--threads", "[bold]\x07"), "error: Invalid value for '--threads'"),
    ],
)
def test_wrong_usage_is_a_line_below_the_usage(arguments, line):
    done = qedeploy(*arguments)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(line)
    assert "\x1b" not in done.stderr
    assert "\x07" not in done.stderr


def test_no_command_shows_the_help():
    done = qedeploy()
    assert done.returncode == 2
    assert "Usage: qedeploy" in done.stdout + done.stderr


@pytest.mark.parametrize("arguments", ["--help", "profiles", "profiles --json", "models", "score --help"])
def test_a_reader_that_has_seen_enough_is_no_error(arguments):
    # `true` reads nothing at all: every write fails once it is gone.
    script = f"set -o pipefail; (sleep 0.1; {SCRIPT} {arguments}) | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == "0\n"
    assert done.stderr == ""
