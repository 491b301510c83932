"""The limits of a portal, each with its unit and where its default comes from."""

from __future__ import annotations

from typing import Any

import attrs

from esps_portal.given_numbers import MAX_INTEGER, is_seconds, shown_value
from esps_portal.protocol.messages import Request
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame


_MICROSECOND = 1e-6


def _integer(default: int, minimum: int, maximum: int = MAX_INTEGER) -> int:
    def check(_: object, field: attrs.Attribute[int], value: object) -> None:
        if type(value) is not int:
            raise TypeError(f"{field.name} must be an integer, got {shown_value(value)}")
        if not minimum <= value <= maximum:
            bounds = f"at least {minimum}"
            if value > maximum or maximum < MAX_INTEGER:
                bounds += f", at most {maximum}"
            raise ValueError(f"{field.name} must be {bounds}, got {shown_value(value)}")

    number: int = attrs.field(default=default, validator=check)
    return number


def _seconds(default: float) -> float:
    def check(_: object, field: attrs.Attribute[float], value: object) -> None:
        if is_seconds(value):
            return
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        raise (ValueError if is_number else TypeError)(
            f"{field.name} must be a number of seconds, 0 or more, got {shown_value(value)}"
        )

    seconds: float = attrs.field(default=default, converter=_as_float, validator=check)
    return seconds


def _as_float(value: Any) -> Any:  # noqa: ANN401 - the validator says what is wrong with others
    return float(value) if is_seconds(value) else value


@attrs.frozen(kw_only=True)
class Limits:
    """What a portal allows. Sizes are in bytes, times in seconds.

    Example: ``Limits(max_line=1024, idle=5)``

    Raises:
        TypeError: a size or a count is not an `int`, or a time is not a number.
        ValueError: a value is out of range, `max_unterminated` is not greater than `max_line`, or
            `max_calls` less than `max_in_flight`.
    """

    #: Longest line, including its LF. The minimum (512) is SMTP's command line (RFC 5321 section
    #: 4.5.3.1.4). The default is the usual 8 KiB of an HTTP request line; RFC 9112 section 3 asks
    #: for at least 8000 bytes.
    max_line: int = _integer(8192, 512)
    #: Longest line that is sent, including its LF, unless `max_line` is less; the answer to a
    #: request that is longer may be as long. The default is what each client accepts: an operator
    #: who knows that all clients accept more may raise it.
    max_reply: int = _integer(8192, 512)
    #: Bytes without an LF after which the connection ends: eight default lines.
    max_unterminated: int = _integer(65536, 512)
    #: Calls that run at a time, on one TCP connection or on the whole UDP endpoint.
    max_in_flight: int = _integer(64, 1)
    #: Calls of async services that run at a time on all TCP connections. 256 connections may have
    #: `max_in_flight` calls each; at the 3 KB that a waiting one takes, they take 50 MB.
    max_calls: int = _integer(16384, 1)
    #: TCP connections at a time.
    max_connections: int = _integer(10240, 1)
    #: TCP connections at a time from one IP address; 0: no such limit, since all clients may be
    #: behind one address, as all tests on a machine are.
    max_connections_per_address: int = _integer(0, 0)
    #: Bytes that all TCP connections hold, not yet sent or not yet answered. While they hold more,
    #: those that hold most are reset. The default is what 2048 connections hold that read nothing:
    #: 64 KiB of replies each, and as much of requests that wait for them.
    max_buffered: int = _integer(268_435_456, 1_048_576)
    #: Longest UDP reply. The default is QUIC's smallest maximum datagram (RFC 9000 section 14),
    #: which practically every path carries without fragments. The maximum is what UDP carries
    #: over IPv4 (RFC 768: 65535 less both headers).
    max_datagram: int = _integer(1200, 64, 65507)
    #: A UDP reply is at most this many times as long as its request (RFC 9000 section 8.1).
    amplification: int = _integer(3, 1)
    #: Time without a complete line and without a running call after which a connection ends.
    idle: float = _seconds(600)
    #: Time after which a peer is cut off that acknowledges nothing of what it is sent.
    stall: float = _seconds(30)
    #: Time that running calls get to end after QUIT, FIN or the server's shutdown.
    drain: float = _seconds(5)
    #: Time that input is discarded before the close, so that no RST overtakes the last line.
    linger: float = _seconds(1)
    #: Time that a UDP reply is kept for repeats, and that a UDP call may run. It is longer than a
    #: client's last retransmission plus a round trip (`retransmission`).
    window: float = _seconds(60)
    #: UDP calls remembered at a time. Each takes at most `max_datagram` and its request.
    max_remembered: int = _integer(4096, 1)

    #: UDP errors a second that one address gets, and how many at once: own choice, more than a
    #: person or a test needs, and few enough that a loop with another server costs next to nothing.
    error_rate: int = _integer(100, 1)
    error_burst: int = _integer(200, 1)

    def __attrs_post_init__(self) -> None:
        if self.max_unterminated <= self.max_line:
            message = "max_unterminated must be greater than max_line"
            raise ValueError(message)
        if self.max_calls < self.max_in_flight:
            message = "max_calls must not be less than max_in_flight"
            raise ValueError(message)

    @property
    def longest_reply(self) -> int:
        """The length of the longest line that answers any request, in bytes."""
        return min(self.max_line, self.max_reply)

    def longest_reply_to(self, request: Request) -> int:
        """Return the length of the longest line that answers a request, in bytes.

        A client that sends a longer line than all clients accept also accepts one (ESPS-LINE-25).
        """
        return max(self.longest_reply, request.length)

    def announced(self) -> tuple[bytes, ...]:
        """Return the limits that a reply to HELLO announces, as ``key=value``."""
        return (
            b"max-line=%d" % self.max_line,
            b"max-in-flight=%d" % self.max_in_flight,
            b"max-datagram=%d" % self.max_datagram,
            b"idle=%b" % _decimal(self.idle),
            b"window=%b" % _decimal(self.window),
        )


def _decimal(seconds: float) -> bytes:
    """Return a time in the form of the grammar: digits, to the microsecond, no exponent.

    Only 0 is 0 (ESPS-VERB-29): there it means something else than a very short time.
    """
    text = f"{max(seconds, _MICROSECOND) if seconds else 0:f}"
    return text.rstrip("0").rstrip(".").encode()
