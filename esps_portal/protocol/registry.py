"""The verbs and the error codes of ESPS/1, as ``spec/registry.toml`` has them.

A test holds this table, the specification's and the file's against each other.
"""

from __future__ import annotations

import attrs

VERSION = b"ESPS/1"
#: The port that IANA lists as ``esps-portal``, TCP and UDP. We are not its registrant.
PORT = 2867


@attrs.frozen
class Verb:
    """A verb: its name, the transports that take it, and how many arguments it has."""

    name: bytes
    udp: bool
    min_args: int
    max_args: int | None


@attrs.frozen
class ErrorCode:
    """An error code, and what a client may conclude from it.

    Attributes:
        fault: ``client``, ``server``, ``service``, or ``none`` where nobody erred.
        executed: ``no``, ``yes`` or ``maybe``: whether the request was carried out.
        retry: ``no``, ``yes`` (the same request, later) or ``changed``.
        ends: whether the connection ends with it.
        machine_arguments: how many arguments before the words are for a machine.
    """

    name: str
    fault: str
    executed: str
    retry: str
    ends: bool = False
    machine_arguments: int = 0


VERBS = {
    verb.name: verb
    for verb in (
        Verb(b"HELLO", udp=True, min_args=1, max_args=None),
        Verb(b"PING", udp=True, min_args=0, max_args=None),
        Verb(b"LIST", udp=True, min_args=0, max_args=1),
        Verb(b"CALL", udp=True, min_args=1, max_args=None),
        Verb(b"CANCEL", udp=False, min_args=1, max_args=1),
        Verb(b"QUIT", udp=False, min_args=0, max_args=0),
    )
}

ERRORS = {
    error.name: error
    for error in (
        ErrorCode("bad-line", "client", "no", "changed"),
        ErrorCode("too-long", "client", "no", "changed"),
        ErrorCode("bad-arguments", "client", "no", "changed"),
        ErrorCode("unknown-verb", "client", "no", "changed"),
        ErrorCode("unknown-service", "client", "no", "changed"),
        ErrorCode("unsupported-version", "client", "no", "changed"),
        ErrorCode("tag-in-use", "client", "no", "changed", machine_arguments=1),
        ErrorCode("not-in-flight", "none", "no", "no"),
        ErrorCode("busy", "server", "no", "yes"),
        ErrorCode("cancelled", "none", "maybe", "no"),
        ErrorCode("too-large", "none", "yes", "changed", machine_arguments=1),
        ErrorCode("use-tcp", "client", "no", "changed"),
        ErrorCode("unmatched", "client", "no", "changed"),
        ErrorCode("failed", "service", "maybe", "no"),
        ErrorCode("closing", "server", "maybe", "yes", ends=True),
        ErrorCode("idle", "client", "no", "yes", ends=True),
    )
}


def hint_for_verb(verb: bytes) -> str:
    """Return the words of an ``unknown-verb``: case is the likeliest mistake."""
    if verb.upper() in VERBS:
        return f"verbs are case-sensitive: {verb.upper().decode()}"
    return "the verbs are " + " ".join(name.decode() for name in VERBS)


def what_is_wrong_with_arguments(verb: bytes, args: tuple[bytes, ...]) -> str:
    """Return the words of a ``bad-arguments`` for the number of a verb's arguments, or ``""``."""
    entry = VERBS[verb]
    if len(args) < entry.min_args:
        return f"{verb.decode()} needs {entry.min_args} argument{'s' * (entry.min_args != 1)}"
    if entry.max_args is not None and len(args) > entry.max_args:
        return (
            f"{verb.decode()} takes at most {entry.max_args} argument{'s' * (entry.max_args != 1)}"
        )
    return ""
