"""What goes wrong is one line on standard error that says what to do, and an exit code."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from esps_portal.cli.output import text

#: What a shell reports for a program that ended by Ctrl-C.
INTERRUPTED = 128 + signal.SIGINT
#: And for one, such as cat, whose reader has gone: ``cat file | head -1``.
READER_GONE = 128 + signal.SIGPIPE


def complain(message: str) -> None:
    """Print a line on standard error; if that cannot be written, the exit code must do."""
    try:
        click.echo(message, err=True)
    except OSError:
        sys.stderr = None  # or what is left in its buffer changes the exit code


def fail(message: str) -> NoReturn:
    """Print one line on standard error and exit 1."""
    complain(message)
    raise click.exceptions.Exit(1)


def line(error: click.ClickException) -> str:
    """Return a usage error in one line, with where to read on."""
    message = _no_such_option(error) or error.format_message()
    said = " ".join(part.strip() for part in message.splitlines())
    said = text(said.encode("utf-8", "surrogateescape"))
    if not isinstance(error, click.UsageError):
        return f"esps-portal: {said}"
    path = "esps-portal" if error.ctx is None else error.ctx.command_path
    return f"{path}: {said.removesuffix('.')}; see {path} --help"


def did_you_mean(names: Sequence[str]) -> str:
    """Return the names that are like a wrong one as a question, or nothing."""
    return f" (did you mean {' or '.join(map(repr, names))}?)" if names else ""


def _no_such_option(error: click.ClickException) -> str:
    """Return what is wrong with an unknown option, and how an argument is given that looks so."""
    if not isinstance(error, click.NoSuchOption):
        return ""
    command = error.ctx.command if error.ctx else None
    takes_any = command is not None and any(p.nargs == -1 for p in command.params)
    hint = "; an argument that begins with - goes after --" if takes_any else ""
    meant = did_you_mean(sorted(error.possibilities or ()))
    return f"No such option {error.option_name!r}{meant}{hint}"
