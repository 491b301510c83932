"""The server that a proxy relays to: ``tcp://``, ``udp://``, ``tls://``, ``esps://``."""

from __future__ import annotations

import attrs

from esps_portal.faults.fault_types import BOTH, TCP, UDP
from esps_portal.framings.framing import Framing, FramingError
from esps_portal.framings.transport_ends import Datagrams
from esps_portal.given_numbers import shown_value
from esps_portal.protocol.escape import shorten
from esps_portal.protocol.urls import PortalURL, host_port
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

_TRANSPORTS = {
    "tcp": TCP,
    "udp": UDP,
    "tcp+udp": BOTH,
    "tls": TCP,
    "esps": BOTH,
    "esps+tls": TCP,
    "esps+udp": UDP,
}
_FORMS = "tcp://HOST:PORT, udp://HOST:PORT, tcp+udp://HOST:PORT, tls://HOST:PORT or esps://HOST"
_MAX_SHOWN = 100


class UpstreamError(ValueError):
    """An upstream cannot be relayed to; its text says what is wrong, and what would be right."""


@attrs.frozen
class Upstream:
    """Where a proxy relays to.

    Example: ``Upstream.parse("tcp://127.0.0.1:6379")``.

    Attributes:
        scheme: ``tcp``, ``udp``, ``tcp+udp``, ``tls``, ``esps``, ``esps+tls`` or ``esps+udp``.
        host: a name or an address.
        port: the number, the same for both transports.
    """

    scheme: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Upstream:
        """Parse an upstream, a URL; the port of a portal, ``esps://``, is 2867 by default.

        Raises:
            UpstreamError: it is not the address of an upstream, or has no scheme. There is none by
                default: with a wrong guess a proxy would find calls in a protocol that has none.
        """
        if not isinstance(text, str):
            raise UpstreamError(
                f"an upstream must be text, got {shown_value(text)}: write {_FORMS}"
            )
        scheme, slashes, rest = text.partition("://")
        if not slashes:
            raise UpstreamError(_without_scheme(text))
        scheme = scheme.lower()
        if scheme not in _TRANSPORTS:
            raise UpstreamError(f"unknown scheme in {_shown(text)}: write {_FORMS}")
        url = _parse_address(rest, text)
        if not scheme.startswith("esps") and not _has_port(rest):
            raise UpstreamError(f"the port is missing in {_shown(text)}: write {text}:PORT")
        return cls(scheme, url.host, url.port)

    @property
    def transports(self) -> frozenset[str]:
        """What can be relayed there."""
        return _TRANSPORTS[self.scheme]

    @property
    def is_tls(self) -> bool:
        """Whether it expects TLS, which the proxy speaks to it."""
        return self.scheme in ("tls", "esps+tls")

    @property
    def is_esps(self) -> bool:
        """Whether it speaks ESPS/1."""
        return self.scheme.startswith("esps")

    def check_framing(self, framing: Framing) -> None:
        """Check that what passes there can be framed so.

        Raises:
            FramingError: it cannot.
        """
        if self.is_esps:
            raise FramingError(f"{self} has its own framing: leave it out")
        is_for_datagrams = isinstance(framing, Datagrams)
        if "tcp" not in self.transports and not is_for_datagrams:
            raise FramingError(f"a framing is for TCP; for {self} a datagram is a unit")
        if "tcp" in self.transports and is_for_datagrams:
            raise FramingError("'datagrams' is not a framing of a stream: over UDP it needs none")

    def __str__(self) -> str:
        return f"{self.scheme}://{host_port(self.host, self.port)}"


def _without_scheme(text: str) -> str:
    """Return what to write in place of ``HOST:PORT``.

    Raises:
        UpstreamError: it is not even an address.
    """
    _parse_address(text, text)
    address = text if _has_port(text) else f"{text}:PORT"
    return (
        f"{_shown(text)} does not say what is spoken there: write tcp://{address},"
        f" udp://{address}, or esps://{text} for a portal"
    )


def _parse_address(address: str, text: str) -> PortalURL:
    """Return the host and port of an address, which stands in ``text``.

    Raises:
        UpstreamError: it is not an address.
    """
    try:
        return PortalURL.parse(f"esps://{address}")
    except ValueError as error:
        reason = str(error).partition(": ")[2].partition("; write ")[0] or str(error)
        raise UpstreamError(
            f"{_shown(text)} is not an upstream: {reason}; write {_FORMS}"
        ) from error


def _has_port(rest: str) -> bool:
    _, bracket, after = rest.partition("/")[0].rpartition("]")
    return ":" in (after if bracket else rest)


def _shown(text: str) -> str:
    return repr(shorten(text, _MAX_SHOWN))
