"""The address of a portal: a URL, ``esps://host:port`` (TCP), ``esps+tls://`` or ``esps+udp://``.

Without a scheme it means TCP: ``HOST``, ``HOST:PORT``, ``[::1]:PORT``, or ``::1`` if no part of it
could be a port. The default port is 2867. The command line, the environment and both clients all
use this parser.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address

import attrs

from esps_portal.protocol.escape import shorten
from esps_portal.protocol.registry import PORT
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

_TRANSPORTS = {"esps": "tcp", "esps+tls": "tls", "esps+udp": "udp"}
_MAX_PORT = 65535
# What precedes a zone, as in [fe80::1%25eth0]: a % has to be escaped in a URL (RFC 6874).
_ZONE_SIGN = "%25"
_ZONE_SIGN_BEFORE_ZONE = re.compile(r"%25(?=[^\]])")
# How many characters of a wrong address an error repeats.
_MAX_SHOWN = 80
_FORMS = (
    "HOST, HOST:PORT, [IPV6]:PORT, or esps://HOST:PORT (TCP), esps+tls://HOST:PORT (TLS),"
    " esps+udp://HOST:PORT (UDP)"
)


class _MalformedError(ValueError):
    """A part of an address is wrong.

    Attributes:
        instead: what to write instead.
    """

    def __init__(self, reason: str, instead: str = _FORMS) -> None:
        super().__init__(reason)
        self.instead = instead


@attrs.frozen
class PortalURL:
    """The address of a portal.

    Example: ``PortalURL.parse("localhost:9")`` is ``PortalURL("tcp", "localhost", 9)``.

    Attributes:
        transport: ``tcp``, ``tls`` or ``udp``.
        host: a name or an IP address, without brackets.
    """

    transport: str
    host: str
    port: int = PORT

    @classmethod
    def parse(cls, text: str) -> PortalURL:
        """Parse a URL, or a host with or without a port (TCP).

        Raises:
            ValueError: it is not the address of a portal; the message says what to write.
            TypeError: it is not text.
        """
        if not isinstance(text, str):
            raise TypeError(_not_text(text))
        try:
            transport, rest = _split(text)
            is_bare = "://" not in text
            host, port = _host_and_port(rest if is_bare else _with_zone(rest), bare=is_bare)
        except _MalformedError as error:
            shown = shorten(text, _MAX_SHOWN)
            message = f"{shown!r} is not the address of a portal: {error}; write {error.instead}"
            raise ValueError(message) from error
        return cls(transport, host, port)

    def __str__(self) -> str:
        scheme = next(scheme for scheme, name in _TRANSPORTS.items() if name == self.transport)
        return f"{scheme}://{host_port(self.host, self.port).replace('%', _ZONE_SIGN)}"


def host_port(host: str, port: int) -> str:
    """Return ``HOST:PORT``, with an IPv6 address in brackets (RFC 3986 section 3.2.2)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _not_text(value: object) -> str:
    instead = "'localhost:2867' or 'esps://localhost'"
    match value:
        case (str(host), int(port), *_):
            instead = repr(host_port(host, port))
            instead += ', or f"{host}:{port}"'
    got = shorten(repr(value), _MAX_SHOWN)
    return f"the address of a portal must be text, got {got}; write {instead}"


def _split(text: str) -> tuple[str, str]:
    """Return the transport and the rest: a host, perhaps with a port."""
    if any(c.isspace() or not c.isprintable() for c in text):
        raise _MalformedError("it contains white space or unprintable characters")
    scheme, slashes, rest = text.partition("://")
    if not slashes:
        scheme, rest = "esps", text
    for sign, what in (("#", "fragment"), ("?", "query")):
        if sign in rest:
            raise _MalformedError(f"a {what} is not allowed")
    rest, _, path = rest.partition("/")
    if path:
        raise _MalformedError("a path is not allowed")
    if "@" in rest:
        raise _MalformedError("a user is not allowed")
    transport = _TRANSPORTS.get(scheme.lower())
    if transport is None:
        rest = rest or "HOST"
        instead = f"esps://{rest} (TCP), esps+tls://{rest} (TLS) or esps+udp://{rest} (UDP)"
        raise _MalformedError(f"unknown scheme {scheme!r}", instead)
    return transport, rest


def _with_zone(text: str) -> str:
    """Return a host of a URL, perhaps with a port, with its zone after a bare %.

    The escapes that `PortalURL.__str__` makes are undone, so that a URL can be read back. An empty
    zone is no zone.
    """
    return _ZONE_SIGN_BEFORE_ZONE.sub("%", text)


def _host_and_port(text: str, *, bare: bool) -> tuple[str, int]:
    """Parse ``HOST``, ``HOST:PORT`` or an IPv6 address; ``bare``: there is no scheme before it."""
    if bare and text.isascii() and text.isdigit():
        raise _MalformedError("it is a port without a host", f"localhost:{_port_or_word(text)}")
    if text.startswith("["):
        return _bracketed(text)
    if text.count(":") > 1:
        return _without_brackets(text, bare=bare), PORT
    host, colon, port = text.partition(":")
    if not host:
        raise _MalformedError(
            "the host is missing", f"localhost:{_port_or_word(port)}" if bare else _FORMS
        )
    if not colon:
        return _name(host), PORT
    if bare and host.lower() in _TRANSPORTS and _port(port) is None:
        raise _MalformedError("'://' must follow a scheme", f"{host}://{port or 'HOST'}")
    return _name(host), _required_port(port, host)


def _bracketed(text: str) -> tuple[str, int]:
    host, bracket, rest = text[1:].partition("]")
    if not bracket:
        raise _MalformedError("the closing bracket is missing", "[IPV6] or [IPV6]:PORT")
    address = _ipv6(host)
    if address is None:
        raise _MalformedError(f"{host!r} is not an IPv6 address")
    if rest and not rest.startswith(":"):
        raise _MalformedError("only ':PORT' may follow ']'", f"[{host}] or [{host}]:PORT")
    return address, _required_port(rest[1:], f"[{host}]") if rest else PORT


def _without_brackets(text: str, *, bare: bool) -> str:
    """Return an IPv6 address that has no brackets, if no part of it could be a port."""
    before, _, after = text.rpartition(":")
    address, may_have_port = _ipv6(text), _ipv6(before) is not None
    if bare and address is not None:
        if may_have_port and _port(after) is not None:
            instead = f"[{before}]:{after}, or [{text}] if it has no port"
            raise _MalformedError("its last part could be a port", instead)
        return address
    if may_have_port:
        instead = f"[{before}]:{_port_or_word(after)}"
    elif address is not None:
        instead = f"esps://[{text}]"
    else:
        instead = "[IPV6]:PORT"
    raise _MalformedError("an IPv6 address with a port needs brackets", instead)


def _ipv6(text: str) -> str | None:
    """Return an IPv6 address in lower case, except its zone; ``None``: it is not one."""
    try:
        IPv6Address(text)
    except ValueError:
        return None
    address, percent, zone = text.partition("%")
    return address.lower() + percent + zone


def _port(text: str) -> int | None:
    # No port has more than five digits; Python refuses to read thousands of them.
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(_MAX_PORT))):
        return None
    port = int(text)
    return port if 0 < port <= _MAX_PORT else None


def _required_port(text: str, host: str) -> int:
    if not text:
        raise _MalformedError("the port after the colon is missing", f"{host} or {host}:PORT")
    port = _port(text)
    if port is None:
        raise _MalformedError(f"the port must be a number from 1 to {_MAX_PORT}", f"{host}:PORT")
    return port


def _port_or_word(text: str) -> str:
    return "PORT" if _port(text) is None else text


def _name(host: str) -> str:
    invalid = "the host is not a valid name or address"
    if not {"[", "]", "\\"}.isdisjoint(host):
        raise _MalformedError(invalid)
    try:
        host.encode("idna")  # as every lookup does
    except UnicodeError as error:
        raise _MalformedError(invalid) from error
    return host.lower()
