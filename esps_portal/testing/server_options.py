"""The options that a portal, a peer and a proxy for tests have in common, and checking options."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from types import UnionType
from typing import TypedDict

from esps_portal.given_numbers import shown_value
from esps_portal.net.tls_server import ServerTLS
from esps_portal.protocol.limits import Limits
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

OptionType = tuple[type | UnionType, str]

#: The types of the options that all have, and how an error describes each.
SERVER_TYPES: dict[str, OptionType] = {
    "host": (str, "a name or an address"),
    "port": (int, "a number from 0 to 65535"),
    "limits": (Limits, "esps_portal.Limits"),
}
#: The type of the option ``tls``, likewise.
TLS_TYPE: OptionType = (bool | ssl.SSLContext, "True, False or an ssl.SSLContext")


class ServerOptions(TypedDict, total=False):
    """Where a server for tests listens; each has a default."""

    #: A name or an address; by default 127.0.0.1. ``::1`` is IPv6.
    host: str
    #: By default 0, a free one.
    port: int


def check_types(
    options: Mapping[str, object], types: Mapping[str, OptionType], also: str = ""
) -> None:
    """Check the names and types of options.

    Args:
        types: of each option, and how an error describes it.
        also: a further option, for the message: the caller handles it itself.

    Raises:
        TypeError: an option is unknown, or not what it must be.
        ValueError: the host is empty.
    """
    unknown = options.keys() - types.keys()
    if unknown:
        known = [*types, also] if also else types
        raise TypeError(
            f"unknown option {', '.join(sorted(unknown))}; the options are {', '.join(known)}"
        )
    for name, value in options.items():
        expected, description = types[name]
        if not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
            raise TypeError(f"{name} must be {description}, got {shown_value(value)}")
    if options.get("host") == "":  # the system says of it what it says of an unknown name
        raise ValueError(f"host must be {SERVER_TYPES['host'][1]}, got ''")


def host_of(options: ServerOptions) -> str:
    """Return the host to listen on."""
    return options.get("host", "127.0.0.1")


def server_tls(
    tls: bool | ssl.SSLContext,  # noqa: FBT001 - an option of the user's
    from_context: Callable[[ssl.SSLContext], ServerTLS],
    own: Callable[[], ServerTLS],
) -> ServerTLS | None:
    """Return what the option ``tls`` stands for; `None`: TCP is plain.

    Args:
        from_context: returns what a server needs that has a context of the test's.
        own: returns the same with a certificate of a CA of the server's own.

    Raises:
        MissingExtraError: trustme is not installed, and ``own`` needs it.
    """
    if isinstance(tls, ssl.SSLContext):
        return from_context(tls)
    return own() if tls else None
