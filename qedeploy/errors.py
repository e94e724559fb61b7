"""What a user can do wrong, as exceptions that carry their exit code.

Each message is one line that names the file, field or layer, says what was expected, and how to mend it.
The command line prints it and leaves with the code; anything else that escapes is a fault of qedeploy itself, which
says so and leaves with 70.
"""

from __future__ import annotations


class UserError(Exception):
    """Wrong usage or unreadable input (exit code 2)."""

    exit_code = 2


class RequestError(UserError):
    """A request that is understood and cannot be met: no structure fits, the profile lacks those bits (exit code 3)."""

    exit_code = 3


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, where something is left of the work: the message says what and how to go on (exit code 130)."""


class MissingRuntimeError(UserError):
    """A runtime or device that this machine does not have (exit code 4)."""

    exit_code = 4
