"""URLs: ``esps://host:port`` (TCP), ``esps+tls://``, ``esps+udp://``; port 2867 by default."""

from __future__ import annotations

from ipaddress import IPv6Address

import attrs

from esps_portal.protocol.registry import PORT
from esps_portal.protocol.tracebacks import hides_frame

__tracebackhide__ = hides_frame

_TRANSPORTS = {"esps": "tcp", "esps+tls": "tls", "esps+udp": "udp"}
_LAST_PORT = 65535


@attrs.frozen
class PortalURL:
    """Where a portal is, and how it is spoken to: ``tcp``, ``tls`` or ``udp``."""

    transport: str
    host: str
    port: int = PORT

    @classmethod
    def parse(cls, text: str) -> PortalURL:
        """Return what ``text`` says.

        Raises:
            ValueError: the URL is malformed; the message says what it should be.
        """
        try:
            transport, rest = _split(text)
            host, port = _host_and_port(rest)
        except ValueError as error:
            meant = "" if "://" in text else _meant(text)
            shape = meant or "esps://HOST[:PORT] (or esps+udp://, esps+tls://)"
            raise ValueError(f"{text!r} is not a portal URL: {error}; write {shape}") from error
        return cls(transport, host, port)

    def __str__(self) -> str:
        scheme = next(scheme for scheme, name in _TRANSPORTS.items() if name == self.transport)
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}"


def _split(text: str) -> tuple[str, str]:
    """Return the transport, and the rest: a host and perhaps a port."""
    if any(c.isspace() or not c.isprintable() for c in text):
        raise ValueError("there is white space in it, or what cannot be printed")
    scheme, slashes, rest = text.partition("://")
    if not slashes:
        raise ValueError("it has no scheme")
    transport = _TRANSPORTS.get(scheme.lower())
    if transport is None:
        raise ValueError(f"there is no scheme {scheme!r}")
    for sign, what in (("#", "fragment"), ("?", "query")):
        if sign in rest:
            raise ValueError(f"it takes no {what}")
    rest, _, path = rest.partition("/")
    if path:
        raise ValueError("it takes no path")
    if "@" in rest:
        raise ValueError("it takes no user")
    return transport, rest


def _meant(text: str) -> str:
    """Return the URL meant by a bare host, with or without a port; else nothing."""
    for meant in (f"esps://{text}", f"esps://[{text}]"):
        try:
            _host_and_port(_split(meant)[1])
        except ValueError:
            continue
        return meant
    return ""


def _host_and_port(text: str) -> tuple[str, int]:
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket:
            raise ValueError("a bracket is not closed")
        IPv6Address(host)  # its own words are fit for a person
        address, percent, zone = host.partition("%")
        host = address.lower() + percent + zone
    else:
        host, colon, port = text.partition(":")
        rest = colon + port
        if ":" in port:
            raise ValueError("an IPv6 address goes in brackets: [::1]")
        host = _name(host)
    if not rest:
        return host, PORT
    port = rest.removeprefix(":")
    if port == rest:
        raise ValueError("nothing but a port stands behind the bracket, after a colon")
    if not port:
        raise ValueError("the port behind the colon is missing")
    # No port has more than five digits; Python refuses to read thousands of them.
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) <= _LAST_PORT):  # noqa: PLR2004
        raise ValueError(f"the port is a number from 1 to {_LAST_PORT}")
    return host, int(port)


def _name(host: str) -> str:
    if not host:
        raise ValueError("the host is missing")
    unfit = "the host is neither a name nor an address"
    if not {"[", "]", "\\"}.isdisjoint(host):
        raise ValueError(unfit)
    try:
        host.encode("idna")  # as every look-up does
    except UnicodeError as error:
        raise ValueError(unfit) from error
    return host.lower()
