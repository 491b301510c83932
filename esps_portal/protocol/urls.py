"""How a portal is named: by a URL, ``esps://host:port`` (TCP) or ``esps+udp://``, or without one.

A target without a scheme means TCP: ``HOST``, ``HOST:PORT``, ``[::1]:PORT``, or ``::1`` where no
part of it could be meant as a port. The port is 2867 where none is given. This is the one parser,
for the command line, the environment and both clients.
"""

from __future__ import annotations

from ipaddress import IPv6Address

import attrs

from esps_portal.protocol.registry import PORT
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

_TRANSPORTS = {"esps": "tcp", "esps+tls": "tls", "esps+udp": "udp"}
_LAST_PORT = 65535
# So much of a wrong target is repeated in an error.
_MOST_SHOWN = 80
_FORMS = "HOST, HOST:PORT, [IPV6]:PORT, or esps://HOST:PORT (TCP), esps+udp://HOST:PORT (UDP)"


class _MalformedError(ValueError):
    """A part of a target is wrong.

    Attributes:
        instead: what to write.
    """

    def __init__(self, reason: str, instead: str = _FORMS) -> None:
        super().__init__(reason)
        self.instead = instead


@attrs.frozen
class PortalURL:
    """Where a portal is, and how it is spoken to: ``tcp``, ``tls`` or ``udp``."""

    transport: str
    host: str
    port: int = PORT

    @classmethod
    def parse(cls, text: str) -> PortalURL:
        """Return what ``text`` names: a URL, or a host with or without a port, which means TCP.

        Raises:
            ValueError: it names no portal; the message says in one line what to write.
        """
        try:
            transport, rest = _split(text)
            host, port = _host_and_port(rest, bare="://" not in text)
        except _MalformedError as error:
            shown = text if len(text) <= _MOST_SHOWN else text[:_MOST_SHOWN] + "..."
            message = f"{shown!r} is not the address of a portal: {error}; write {error.instead}"
            raise ValueError(message) from error
        return cls(transport, host, port)

    def __str__(self) -> str:
        scheme = next(scheme for scheme, name in _TRANSPORTS.items() if name == self.transport)
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}"


def _split(text: str) -> tuple[str, str]:
    """Return the transport, and the rest: a host and perhaps a port."""
    if any(c.isspace() or not c.isprintable() for c in text):
        raise _MalformedError("there is white space in it, or what cannot be printed")
    scheme, slashes, rest = text.partition("://")
    if not slashes:
        scheme, rest = "esps", text
    for sign, what in (("#", "fragment"), ("?", "query")):
        if sign in rest:
            raise _MalformedError(f"it takes no {what}")
    rest, _, path = rest.partition("/")
    if path:
        raise _MalformedError("it takes no path")
    if "@" in rest:
        raise _MalformedError("it takes no user")
    transport = _TRANSPORTS.get(scheme.lower())
    if transport is None:
        rest = rest or "HOST"
        instead = f"esps://{rest} (TCP) or esps+udp://{rest} (UDP)"
        raise _MalformedError(f"there is no scheme {scheme!r}", instead)
    return transport, rest


def _host_and_port(text: str, *, bare: bool) -> tuple[str, int]:
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
    if bare and host.lower() in ("esps", "esps+udp") and not _is_port(port):
        raise _MalformedError("'://' follows a scheme", f"{host}://{port or 'HOST'}")
    return _name(host), _port(port, host)


def _bracketed(text: str) -> tuple[str, int]:
    host, bracket, rest = text[1:].partition("]")
    if not bracket:
        raise _MalformedError("a bracket is not closed", "[IPV6] or [IPV6]:PORT")
    try:
        IPv6Address(host)
    except ValueError as error:
        raise _MalformedError(f"{host!r} is not an IPv6 address") from error
    if rest and not rest.startswith(":"):
        raise _MalformedError("only ':PORT' may follow ']'", f"[{host}] or [{host}]:PORT")
    return _lower(host), _port(rest[1:], f"[{host}]") if rest else PORT


def _without_brackets(text: str, *, bare: bool) -> str:
    """Return an IPv6 address that stands alone, if no part of it can be meant as a port."""
    before, _, after = text.rpartition(":")
    if bare and _is_ipv6(text):
        if _is_port(after) and _is_ipv6(before):
            instead = f"[{before}]:{after}, or [{text}] where it has no port"
            raise _MalformedError("its last part may be a port", instead)
        return _lower(text)
    if _is_ipv6(before):
        instead = f"[{before}]:{_port_or_word(after)}"
    elif _is_ipv6(text):
        instead = f"esps://[{text}]"
    else:
        instead = "[IPV6]:PORT"
    raise _MalformedError("an IPv6 address with a port goes in brackets", instead)


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


def _lower(address: str) -> str:
    """Return an IPv6 address in lower case, but for its zone."""
    digits, percent, zone = address.partition("%")
    return digits.lower() + percent + zone


def _port(text: str, host: str) -> int:
    if not text:
        raise _MalformedError("the port after the colon is missing", f"{host} or {host}:PORT")
    if not _is_port(text):
        raise _MalformedError(f"the port must be a number from 1 to {_LAST_PORT}", f"{host}:PORT")
    return int(text)


def _is_port(text: str) -> bool:
    # No port has more than five digits; Python refuses to read thousands of them.
    return text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) <= _LAST_PORT  # noqa: PLR2004


def _port_or_word(text: str) -> str:
    return text if _is_port(text) else "PORT"


def _name(host: str) -> str:
    unfit = "the host is neither a name nor an address"
    if not {"[", "]", "\\"}.isdisjoint(host):
        raise _MalformedError(unfit)
    try:
        host.encode("idna")  # as every look-up does
    except UnicodeError as error:
        raise _MalformedError(unfit) from error
    return host.lower()
