"""Parses a line that a person types in ``connect``, and completes it. No terminal here."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from enum import Enum

import attrs

from esps_portal.protocol import grammar
from esps_portal.protocol.limits import Limits
from esps_portal.protocol.messages import Request
from esps_portal.protocol.registry import VERBS, VERSIONS
from esps_portal.protocol.verb_arguments import argument_error

# The client's tag is not known yet: room for the longest one of the grammar.
_ANY_TAG = b"t" * 32
_VERB_NAMES = tuple(verb.decode() for verb in VERBS)


class CannotParseError(Exception):
    """A typed line is not a request; the message says why."""


class LocalCommand(Enum):
    """A line that is not for the portal."""

    HELP = ("help",)
    QUIT = ("quit", "exit")


@attrs.frozen
class TypedRequest:
    """A line that is sent to the portal.

    Attributes:
        verb: one of ESPS/1.
        args: as they are sent, before they are escaped.
    """

    verb: str
    args: tuple[bytes, ...] = ()


def parse_typed(line: str) -> TypedRequest | LocalCommand | None:
    """Return what a line asks for; ``None``: nothing, it is empty or a comment (``# ...``).

    Words are those of a shell. One that is a verb of ESPS/1, or ``help``, ``quit`` or ``exit``
    alone, means that; any other is a service to call. ``CALL help`` calls a service of that name.

    Example: ``parse_typed("echo 'a b'") == TypedRequest("CALL", (b"echo", b"a b"))``

    Args:
        line: text; bytes that are not UTF-8 are surrogates, and are sent as they were.

    Raises:
        CannotParseError: a quote is open, or ESPS/1 has no such request.
    """
    if line.lstrip().startswith("#"):
        return None
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise CannotParseError(str(error)[0].lower() + str(error)[1:]) from error
    if not words:
        return None
    for command in LocalCommand:
        if words[0] in command.value and len(words) == 1:
            return command
    return _checked(words)


def _checked(words: Sequence[str]) -> TypedRequest:
    """Return a request that the portal can read; a bad first line would end the connection."""
    verb, rest = (words[0], words[1:]) if words[0] in _VERB_NAMES else ("CALL", words)
    args = tuple(word.encode("utf-8", "surrogateescape") for word in rest)
    problem = argument_error(verb.encode(), args)
    if problem and verb != words[0]:
        verbs = " ".join(_VERB_NAMES)
        raise CannotParseError(f"{words[0]!r} is neither a service nor a verb ({verbs})")
    if problem:
        raise CannotParseError(problem)
    size, max_line = Request(_ANY_TAG, verb.encode(), args).size, Limits().max_line
    if size > max_line:
        raise CannotParseError(f"the request must be at most {max_line} bytes, got {size}")
    return TypedRequest(verb, args)


def completions(before: str, word: str, services: Callable[[], list[str]]) -> list[str]:
    """Return what a word may become.

    Args:
        before: the line up to the word.
        word: its start.
        services: returns the names that the portal offers. It is not trusted: what is not a name of
            the grammar is left out.
    """
    names: list[str] = []
    match before.split():
        case []:
            own = [name for command in LocalCommand for name in command.value]
            names = [*_names(services()), *_VERB_NAMES, *own]
        case ["CALL"] | ["LIST"]:
            names = _names(services())
        case ["HELLO"]:
            names = [version.decode() for version in VERSIONS]
    return [name for name in dict.fromkeys(names) if name.startswith(word)]


def _names(services: Sequence[str]) -> list[str]:
    return [name for name in services if grammar.NAME.fullmatch(name.encode())]
