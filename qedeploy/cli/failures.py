"""What went wrong, as one line and an exit code."""

from __future__ import annotations

import traceback
from pathlib import Path

from qedeploy import __version__
from qedeploy.errors import UserError
from qedeploy.printable import one_line, printable

FAULT = 70
"""Exit code of a fault of qedeploy itself: EX_SOFTWARE of sysexits.h."""

_OUT_OF_MEMORY = 3
_UNREADABLE = 2
_PACKAGE = Path(__file__).parents[1]
_HOME = "https://pypi.org/project/qedeploy/"


def failure(error: BaseException) -> tuple[str, int]:
    """Return the line for standard error ("" if all has been said) and the exit code of the process."""
    if isinstance(error, UserError):
        return f"error: {one_line(str(error))}", error.exit_code
    if (usage := _usage(error)) is not None:
        return usage
    if isinstance(error, ModuleNotFoundError):
        from qedeploy.packages import missing_package

        if (missing := missing_package(error)) is not None:
            return f"error: {one_line(str(missing))}", missing.exit_code
    if isinstance(error, MemoryError):
        return "error: this machine has not enough memory for it: close other programs, or ask for less", _OUT_OF_MEMORY
    if isinstance(error, OSError) and error.filename is not None:
        return f"error: {one_line(str(error.filename))}: {error.strerror}", _UNREADABLE
    # Typer makes an abort of an end of file, which here nobody types.
    return _fault(error.__cause__ if isinstance(error.__cause__, EOFError) else error), FAULT


def _usage(error: BaseException) -> tuple[str, int] | None:
    """Return Typer's message about wrong arguments, None if the error is not Typer's (its classes are private)."""
    code = getattr(error, "exit_code", None)
    if not hasattr(error, "format_message") or not isinstance(code, int):
        return None
    if type(error).__name__ == "NoArgsIsHelpError":
        return "", code
    context = getattr(error, "ctx", None)
    usage = "" if context is None else f"{context.get_usage()}\n"
    return f"{printable(usage)}error: {one_line(error.format_message())}", code


def _fault(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(_PACKAGE)]
    where = f", {Path(own[-1].filename).relative_to(_PACKAGE)}, line {own[-1].lineno}" if own else ""
    what = one_line(f"{type(error).__name__}: {error}")
    return (
        f"error: a fault of qedeploy itself ({what:.300}{where}; qedeploy {__version__}): "
        f"please report it, with what --debug adds; {_HOME} says where"
    )
