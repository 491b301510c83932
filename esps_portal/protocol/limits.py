"""The limits of a portal, each with its unit and where its default comes from."""

from __future__ import annotations

import math

import attrs

from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame


def _whole(default: int, lowest: int, highest: int = 2**63) -> int:
    def check(_: object, field: attrs.Attribute[int], value: object) -> None:
        if type(value) is not int:
            raise TypeError(f"{field.name} is a whole number, not {value!r}")
        if not lowest <= value <= highest:
            most = "" if highest == 2**63 else f" and {highest} at most"
            raise ValueError(f"{field.name} is {lowest} at least{most}, not {value}")

    number: int = attrs.field(default=default, validator=check)
    return number


def _seconds(default: float) -> float:
    def check(_: object, field: attrs.Attribute[float], value: float) -> None:
        if not 0 <= value < math.inf:
            raise ValueError(f"{field.name} is a time in seconds, 0 or more, not {value}")

    seconds: float = attrs.field(default=default, converter=float, validator=check)
    return seconds


@attrs.frozen(kw_only=True)
class Limits:
    """What a portal allows. Sizes are in bytes, times in seconds.

    Raises `ValueError` or `TypeError` for a value that makes no sense.
    """

    #: Longest line, its LF included. The least accepted (512) is SMTP's command line
    #: (RFC 5321 section 4.5.3.1.4); the default is the usual 8 KiB of an HTTP request line, which
    #: RFC 9112 section 3 asks to be at least 8000 octets.
    max_line: int = _whole(8192, 512)
    #: Bytes without an LF after which the connection ends: eight default lines.
    max_unterminated: int = _whole(65536, 512)
    #: Calls that run at a time, on one TCP connection or on the whole UDP endpoint.
    max_in_flight: int = _whole(64, 1)
    #: TCP connections at a time.
    max_connections: int = _whole(10240, 1)
    #: Longest UDP reply. 1200 is QUIC's smallest maximum datagram (RFC 9000 section 14), which
    #: crosses practically every path unfragmented. The most is what UDP carries over IPv4 (RFC 768:
    #: 65535 less the headers of both).
    max_datagram: int = _whole(1200, 64, 65507)
    #: A UDP reply is at most this many times its request (RFC 9000 section 8.1).
    amplification: int = _whole(3, 1)
    #: A connection that sends no complete line and has no running call ends after it.
    idle: float = _seconds(600)
    #: A peer that accepts nothing of what it is sent is cut off after it.
    stall: float = _seconds(30)
    #: How long running calls may take to end, after QUIT, FIN or the server's shutdown.
    drain: float = _seconds(5)
    #: How long input is discarded before the close, so that no RST overtakes the last line.
    linger: float = _seconds(1)
    #: How long a UDP reply is kept for repeats, and the longest that a UDP call may run. It is
    #: longer than a client's last retransmission plus a round trip (`retransmission`).
    window: float = _seconds(60)
    #: UDP calls remembered at a time. An entry costs at most `max_datagram` and a digest.
    max_remembered: int = _whole(4096, 1)

    def __attrs_post_init__(self) -> None:
        if self.max_unterminated < self.max_line:
            message = "max_unterminated must not be less than max_line"
            raise ValueError(message)

    def announced(self) -> tuple[bytes, ...]:
        """Return the ``key=value`` arguments of a HELLO reply: the limits a client should know."""
        return (
            b"max-line=%d" % self.max_line,
            b"max-in-flight=%d" % self.max_in_flight,
            b"max-datagram=%d" % self.max_datagram,
            b"idle=%b" % _decimal(self.idle),
            b"window=%b" % _decimal(self.window),
        )


def _decimal(seconds: float) -> bytes:
    """Return a time as the grammar writes it: digits, to the microsecond, and no exponent."""
    return f"{seconds:f}".rstrip("0").rstrip(".").encode()
