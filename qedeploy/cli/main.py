"""The `qedeploy` command: gathers the commands and turns what a user did wrong into one line and an exit code."""

from __future__ import annotations

import sys

import typer

from qedeploy.errors import UserError

app = typer.Typer(
    name="qedeploy",
    help="Search, export and benchmark quantized networks for a named device.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line; its exit codes are those of `qedeploy.errors`, 130 for an interruption."""
    try:
        app()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # The reader (head, less) has seen enough; what Python would print about it helps nobody.
        sys.stderr.close()
        sys.exit(0)


if __name__ == "__main__":
    main()
