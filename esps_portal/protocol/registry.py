"""The verbs and the error codes of ESPS/1, as ``spec/registry.toml`` has them.

A test compares these tables with that file and with the specification.
"""

from __future__ import annotations

import attrs

VERSION = b"ESPS/1"
#: All versions that this package speaks.
VERSIONS = (VERSION,)
#: The port that IANA lists as ``esps-portal``, TCP and UDP. This project is not its registrant.
PORT = 2867
#: The name of the protocol in the TLS handshake (RFC 7301); it is not registered.
ALPN = "esps/1"


@attrs.frozen
class Verb:
    """A verb.

    Attributes:
        udp: whether it works over UDP too.
        max_args: the most arguments it takes; ``None``: any number.
    """

    name: bytes
    udp: bool
    min_args: int
    max_args: int | None


@attrs.frozen
class ErrorCode:
    """An error code, and what a client may conclude from it.

    Attributes:
        fault: who has to change something: ``client``, ``server``, ``service`` or ``none``.
        executed: whether the request was executed: ``no``, ``yes`` or ``maybe``.
        retry: whether a retry can help: ``no``, ``yes`` (the same request, later) or ``changed``.
        ends: whether the connection always ends with it.
        machine_arguments: how many arguments between the code and the text are for programs.
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
        ErrorCode("bad-arguments", "client", "maybe", "changed"),
        ErrorCode("unknown-verb", "client", "no", "changed"),
        ErrorCode("unknown-service", "client", "no", "changed"),
        ErrorCode("unsupported-version", "client", "no", "changed"),
        ErrorCode("tag-in-use", "client", "no", "changed", machine_arguments=1),
        ErrorCode("not-in-flight", "none", "no", "no"),
        ErrorCode("busy", "server", "maybe", "yes"),
        ErrorCode("cancelled", "none", "maybe", "no"),
        ErrorCode("too-large", "none", "yes", "changed", machine_arguments=1),
        ErrorCode("use-tcp", "client", "no", "changed"),
        ErrorCode("unmatched", "client", "no", "changed"),
        ErrorCode("failed", "service", "maybe", "no"),
        ErrorCode("closing", "server", "maybe", "yes", ends=True),
        ErrorCode("idle", "client", "no", "yes", ends=True),
    )
}


def unknown_verb_text(verb: bytes) -> str:
    """Return the text of an ``unknown-verb``; wrong case is the likeliest mistake."""
    if verb.upper() in VERBS:
        return f"verbs are case-sensitive: {verb.upper().decode()}"
    return "the verbs are " + " ".join(name.decode() for name in VERBS)
