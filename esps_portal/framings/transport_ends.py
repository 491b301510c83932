"""Frames whose end the transport marks: a datagram, or everything until FIN."""

from __future__ import annotations

from typing import final

import attrs

from esps_portal.framings.framing import BuiltInFraming, FramingError, checked_frame

#: The longest UDP payload over IPv4, in bytes: 65535 less 20 of IP header (RFC 791, section 3.1)
#: and 8 of UDP header (RFC 768).
MAX_DATAGRAM = 65507


class _EverySearch:
    """All bytes that are there are one frame."""

    __slots__ = ()

    def find_end(self, _buffer: bytes | bytearray, start: int, stop: int, /) -> int | None:
        return stop if stop > start else None


class _NoSearch:
    """No byte ends a frame."""

    __slots__ = ()

    def find_end(self, _buffer: bytes | bytearray, _start: int, _stop: int, /) -> int | None:
        return None


@final
@attrs.frozen
class Datagrams(BuiltInFraming):
    """Made by `datagrams`."""

    def new_search(self) -> _EverySearch:
        """Return a search for which each piece of bytes is a frame."""
        return _EverySearch()

    def split(self, buffer: bytes) -> tuple[list[bytes], bytes]:
        """Return the datagram as one frame, an empty one too."""
        return [buffer], b""

    def join(self, frame: bytes) -> bytes:
        """Return the frame.

        Raises:
            FramingError: it is longer than a datagram can be.
        """
        datagram = checked_frame(frame)
        if len(datagram) > MAX_DATAGRAM:
            size = f"{len(datagram)} bytes"
            raise FramingError(f"a datagram has at most {MAX_DATAGRAM} bytes, got {size}")
        return datagram

    def __str__(self) -> str:
        return "datagrams"


@final
@attrs.frozen
class UntilClose(BuiltInFraming):
    """Made by `until_close`."""

    def new_search(self) -> _NoSearch:
        """Return a search that finds no end."""
        return _NoSearch()

    def join(self, frame: bytes) -> bytes:
        """Return the frame; the connection must end after it."""
        return checked_frame(frame)

    def __str__(self) -> str:
        return "until-close"


def datagrams() -> Datagrams:
    """Each datagram is a frame, an empty one too.

    Example: ``datagrams().split(b"hello")`` is ``([b"hello"], b"")``.

    Used by whatever runs over UDP: DNS (RFC 1035, section 4.2.1), CoAP (RFC 7252), syslog
    (RFC 5426), SNMP (RFC 3417), statsd.
    """
    return Datagrams()


def until_close() -> UntilClose:
    """All bytes until FIN are one frame; without any bytes there is no frame.

    So ``split`` finds none before the end: ``until_close().split(b"root")`` is ``([], b"root")``.

    Used by the answers of whois (RFC 3912), finger (RFC 1288), daytime (RFC 867), gopher (RFC 1436)
    and HTTP/1.0 without Content-Length (RFC 1945, section 7.2.2).
    """
    return UntilClose()
