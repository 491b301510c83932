"""Where the lines of ``connect`` come from: a person at a terminal, or standard input."""

from __future__ import annotations

import io
import select
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import click

from esps_portal.cli.errors import exit_with_error
from esps_portal.cli.typed_line import CannotParseError
from esps_portal.protocol.limits import Limits

if TYPE_CHECKING:
    from types import ModuleType

# The bytes of a line in a pipe: as many as a server reads of one of its own.
_MAX_LINE = Limits().max_unterminated

#: Returns what a word may become: of the line up to the word, and its start.
Complete = Callable[[str, str], list[str]]


class LineSource(Protocol):
    """Lines of text; a byte that is not UTF-8 is a surrogate.

    Attributes:
        number: of the line that was read last, from 1.
    """

    number: int

    def read(self) -> str | None:
        """Return a line; ``None`` after the last one."""

    def may_wake(self) -> bool:
        """Whether `read`, which waits, may be interrupted now; it can then be called again."""


class TerminalLines:
    """Lines that are typed after a prompt; with readline they are edited, and Up recalls them.

    The history is kept in memory only: it may hold what is secret.

    Args:
        prompt: shown before each line.
        complete: what Tab asks.
    """

    def __init__(self, prompt: str, complete: Complete) -> None:
        self.number: int = 0
        self._prompt = prompt
        self._complete = complete
        self._found: list[str] = []
        self._is_completing = False
        self._typed = ""
        _keep_all_bytes()
        self._readline = _import_readline()
        if self._readline is not None:
            self._set_up(self._readline)

    def _set_up(self, readline: ModuleType) -> None:
        libedit = "libedit" in (readline.__doc__ or "")  # macOS
        readline.parse_and_bind("bind ^I rl_complete" if libedit else "tab: complete")
        readline.set_completer_delims(" \t\n")
        readline.set_completer(self._completion)

    def read(self) -> str | None:
        """Return a line; ``None`` after Ctrl-D."""
        typed, self._typed = self._typed, ""
        if self._readline is not None:
            insert = self._readline.insert_text
            self._readline.set_startup_hook((lambda: insert(typed)) if typed else None)
        try:
            line = input(self._prompt)
        except EOFError:
            click.echo()  # after the prompt
            return None
        self.number += 1
        return line

    def may_wake(self) -> bool:
        """Keep what was typed of the line: the next `read` goes on from there.

        Not while Tab is asked: readline drops an exception of its completer.
        """
        if self._readline is not None and not self._is_completing:
            self._typed = self._readline.get_line_buffer()
        return not self._is_completing

    def _completion(self, word: str, number: int) -> str | None:
        """Return a completion, as readline asks for them: by number, until there is none."""
        assert self._readline is not None  # noqa: S101 - it calls this
        if number == 0:
            before = self._readline.get_line_buffer()[: self._readline.get_begidx()]
            self._is_completing = True
            try:
                self._found = self._complete(before, word)
            finally:
                self._is_completing = False
        if number >= len(self._found):
            return None
        return self._found[number] + (" " if len(self._found) == 1 else "")


class PipedLines:
    """Lines of standard input."""

    def __init__(self) -> None:
        self.number: int = 0
        _keep_all_bytes()

    def read(self) -> str | None:
        """Return a line; ``None`` after the last one.

        Raises:
            CannotParseError: it is too long.
        """
        try:
            line = sys.stdin.buffer.readline(_MAX_LINE + 1)
        except OSError as error:
            exit_with_error(f"cannot read standard input: {error.strerror or error}")
        self.number += 1
        if len(line) > _MAX_LINE:
            raise CannotParseError(f"a line must be at most {_MAX_LINE} bytes")
        return line.decode("utf-8", "surrogateescape") if line else None

    def may_wake(self) -> bool:
        """Whether nothing is there to be read: what is there comes first."""
        try:
            return not select.select([sys.stdin], [], [], 0)[0]
        except (OSError, ValueError):  # not a descriptor that can be asked
            return False


def _keep_all_bytes() -> None:
    if sys.stdin is None:
        exit_with_error("cannot read lines: standard input is closed")
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")


def _import_readline() -> ModuleType | None:
    """Return the line editor, which has side effects on a terminal; Windows has none."""
    try:
        import readline  # noqa: PLC0415 - only on a terminal
    except ImportError:
        return None
    return readline
