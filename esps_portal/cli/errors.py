"""Errors of the command: one line on standard error that says what to do, and an exit code."""

from __future__ import annotations

import contextlib
import errno
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import NoReturn

import click

from esps_portal.cli.output import escaped
from esps_portal.cli.signals import SIGPIPE
from esps_portal.protocol.escape import visible_lines

#: What to do where no more files and sockets can be opened.
NO_DESCRIPTOR = "too many open files: raise the limit (ulimit -n)"
#: The exit code that a shell reports for a program ended by Ctrl-C.
INTERRUPTED = 128 + signal.SIGINT
#: And for one whose reader has gone: ``cat file | head -1``.
READER_GONE = 128 + SIGPIPE


def print_error(text: str) -> None:
    """Print a line on standard error, or several; if that fails, only the exit code reports it.

    A name of a file or a command may have bytes that are not text in this locale, or that a
    terminal would obey: they are shown as such.
    """
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    try:
        click.echo(visible_lines(text), err=True)
    except OSError:
        sys.stderr = None  # Python would flush its buffer at exit, and change the exit code


def exit_with_error(message: str) -> NoReturn:
    """Print ``esps-portal: MESSAGE`` in one line on standard error and exit 1."""
    print_error(f"esps-portal: {in_one_line(message)}")
    raise click.exceptions.Exit(1)


def in_one_line(text: str) -> str:
    """Return a text that may have the name of a file or a command, with all of it visible."""
    return escaped(text.encode("utf-8", "surrogateescape"))


@contextlib.contextmanager
def ungrouped(*kinds: type[BaseException]) -> Iterator[None]:
    """Raise an exception of these types as itself, where nurseries have wrapped it in groups.

    What an ``except*`` clause raises would be wrapped again, by Python 3.11.2 at least.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        found, others = group.split(kinds)
        if found is None or others is not None:
            raise
        raise _first_of(found) from None


def has_no_descriptor(error: BaseException) -> bool:
    """Whether an exception, one in its group, or its cause means that no descriptor is left.

    It may come from anywhere: a socket, a signal's, an import.
    """
    causes: list[BaseException | None] = [error]
    seen: set[int] = set()
    while causes:
        cause = causes.pop()
        if cause is None or id(cause) in seen:
            continue
        seen.add(id(cause))
        if isinstance(cause, OSError) and cause.errno in (errno.EMFILE, errno.ENFILE):
            return True
        if isinstance(cause, BaseExceptionGroup):
            causes += cause.exceptions
        causes += (cause.__cause__, cause.__context__)
    return False


def _first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first exception in a group, and in the groups in it."""
    first: BaseException = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first


def usage_line(error: click.ClickException) -> str:
    """Return click's error in one line, with a pointer to the help."""
    message = _unknown_option(error) or error.format_message()
    joined = in_one_line(" ".join(part.strip() for part in message.splitlines()))
    if not isinstance(error, click.UsageError):
        return f"esps-portal: {joined}"
    path = "esps-portal" if error.ctx is None else error.ctx.command_path
    sentence = joined if joined.endswith("...") else joined.removesuffix(".")
    return f"{path}: {sentence}; see {path} --help"


def did_you_mean(names: Sequence[str]) -> str:
    """Return a question that suggests these names; empty if there are none."""
    return f" (did you mean {' or '.join(map(repr, names))}?)" if names else ""


def _unknown_option(error: click.ClickException) -> str:
    """Return the message for an unknown option; empty for any other error."""
    if not isinstance(error, click.NoSuchOption):
        return ""
    command = error.ctx.command if error.ctx else None
    parameters = command.params if command else []
    has_arguments = any(parameter.nargs == -1 for parameter in parameters)
    hint = "; put arguments that begin with - after --" if has_arguments else ""
    names = [name for parameter in parameters for name in parameter.opts]
    suggestion = did_you_mean(sorted(error.possibilities or _long_forms(error.option_name, names)))
    return f"No such option {error.option_name!r}{suggestion}{hint}"


def _long_forms(option: str, names: Sequence[str]) -> list[str]:
    """Return the options that ``-x`` may stand for in other tools: they begin with ``--x``."""
    is_short = not option.startswith("--")
    return [name for name in names if is_short and name.startswith(f"-{option.lower()}")]
