"""How the first line of a client shows that it speaks another protocol.

Only HTTP can be told by a line: TLS shows in its first byte (`grammar.TLS_HANDSHAKE`), since a
handshake need not contain an LF.
"""

from __future__ import annotations

from esps_portal.protocol import grammar
from esps_portal.protocol.registry import VERBS, VERSION

#: What is said to a client of TLS, and to one of HTTP.
NO_TLS = "this listener has no TLS"
NO_HTTP = f"this is not HTTP: it is {VERSION.decode()}"


def is_http(line: bytes) -> bool:
    """Whether a line that was rejected is an HTTP request line."""
    tokens = line.removesuffix(b"\r").split(b" ")
    return (
        len(tokens) > 1
        and grammar.HTTP_VERSION.fullmatch(tokens[-1]) is not None
        and tokens[1] not in VERBS
    )


def is_long_http(head: bytes, tail: bytes) -> bool:
    """Whether an over-long line that begins and ends like this is an HTTP request line."""
    target = head.split(b" ")[1:2]
    return bool(target) and target[0] not in VERBS and grammar.HTTP_END.search(tail) is not None
