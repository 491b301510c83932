"""Finds out whether an address speaks ESPS/1: one connection or UDP request, with a timeout.

Over TCP a portal speaks first, so its greeting decides; a ``PING`` then checks that it replies.
Without a greeting the ``PING`` is sent as well: a server that waits for its client to speak first
(HTTP, say) sends an error. If that says that it expects TLS, all of this is done again over TLS.
The peer is not trusted: what is read from it is limited in bytes and in time, and never raises.
"""

from __future__ import annotations

import re
import secrets
import socket
import threading
import time

import attrs

from esps_portal.inspection.unverified_tls import connect_unverified
from esps_portal.protocol.errors import ProtocolError
from esps_portal.protocol.escape import printable
from esps_portal.protocol.grammar import TLS_ALERT
from esps_portal.protocol.messages import (
    BYE_BUSY,
    BYE_CLOSING,
    ERR,
    OK,
    Notice,
    Reply,
    parse_answer_untrusted,
)

_MAX_BYTES = 16384  # two lines of the default maximum, 8192 bytes
# Share of the timeout in which a server may greet over TCP, or reply to the first datagram. The
# rest is for the reply, or the error, to what is sent then.
FIRST_SHARE = 0.5
_ABORTED = "it aborts the connection"
_EXPECTS_TLS = "it seems to expect TLS"
# What a portal over TLS may answer to plain text, in place of a greeting (ESPS-TLS-7).
_PLAIN_ERROR = re.compile(rb"\* ERR bad-line[ \r\n]")
_TCP_TAG = b"inspect"
# What a portal may send in place of a greeting. IMAP has a BYE too (RFC 9051 section 7.1.5).
_REFUSALS = (BYE_BUSY, BYE_CLOSING)
_PING = _TCP_TAG + b" PING x\n"

ESPS = "esps-1"
OTHER = "something else"
SILENT = "silent"
CLEAR = "clear"
UNREACHABLE = "unreachable"


@attrs.frozen
class ProbeResult:
    """What one address answered over one transport.

    Attributes:
        transport: ``tcp`` or ``udp``.
        host: the address that was probed.
        port: its port.
        verdict: ``esps-1``; ``something else``; ``silent`` (nothing came within the timeout);
            ``clear`` (nothing listens there); ``unreachable`` (nothing could be sent).
        product: the product named in the greeting, over TCP.
        message: an explanation for a person.
        excerpt: the start of what something else sent, as printable ASCII.
        seconds: the duration of the whole probe.
        tls: whether it answered over TLS.
    """

    transport: str
    host: str
    port: int
    verdict: str
    product: str | None = None
    message: str = ""
    excerpt: str = ""
    seconds: float = 0.0
    tls: bool = False


@attrs.frozen
class ProbeTarget:
    """An address to probe, and the transport."""

    transport: str
    host: str
    port: int


def probe_all(targets: list[ProbeTarget], timeout: float) -> list[ProbeResult]:
    """Probe all targets at the same time; return the results in the order of the targets."""
    results: dict[ProbeTarget, ProbeResult] = {}

    def run(target: ProbeTarget) -> None:
        results[target] = probe(target, timeout)

    # One thread each: a silent address must not delay the others.
    threads = [threading.Thread(target=run, args=(t,), daemon=True) for t in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [results[target] for target in targets]


def probe(target: ProbeTarget, timeout: float) -> ProbeResult:
    """Probe one target for at most ``timeout`` seconds; every error becomes a result."""
    start = time.monotonic()
    blank = ProbeResult(target.transport, target.host, target.port, SILENT)
    probe_transport = _probe_tcp if target.transport == "tcp" else _probe_udp
    try:
        result = probe_transport(blank, start, timeout)
    except ConnectionRefusedError:
        result = attrs.evolve(blank, verdict=CLEAR)
    except ConnectionResetError:  # so early that connect() failed
        result = attrs.evolve(blank, verdict=OTHER, message=_ABORTED)
    except TimeoutError:
        result = attrs.evolve(blank, verdict=UNREACHABLE, message="connecting timed out")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        result = attrs.evolve(blank, verdict=UNREACHABLE, message=reason)
    return attrs.evolve(result, seconds=time.monotonic() - start)


def _refuse_self_connection(ours: socket.socket) -> None:
    # The kernel may choose the probed port as our local port, and connect the socket to itself.
    try:
        is_self = ours.getsockname() == ours.getpeername()
    except OSError:  # the peer has disconnected: reading reports it
        return
    if is_self:
        raise ConnectionRefusedError


# ---- TCP ---------------------------------------------------------------------------------------


def _probe_tcp(blank: ProbeResult, start: float, timeout: float) -> ProbeResult:
    with socket.create_connection((blank.host, blank.port), timeout) as connection:
        _refuse_self_connection(connection)
        plain = _probe_connection(blank, connection, start, timeout)
    if plain.message != _EXPECTS_TLS:
        return plain
    return _probe_tls(blank, start + timeout) or plain


def _probe_tls(blank: ProbeResult, deadline: float) -> ProbeResult | None:
    """Return the result over TLS if that is ESPS/1; whose certificate it has does not matter."""
    start = time.monotonic()
    timeout = max(0.001, deadline - start)
    try:
        with connect_unverified(blank.host, blank.port, deadline) as connection:
            result = _probe_connection(blank, connection, start, timeout)
    except OSError:  # such as a handshake that fails
        return None
    if result.verdict != ESPS:
        return None
    message = f"over TLS; {result.message}" if result.message else "over TLS"
    return attrs.evolve(result, message=message, tls=True)


def _probe_connection(
    blank: ProbeResult, connection: socket.socket, start: float, timeout: float
) -> ProbeResult:
    lines = _LineReader(connection)
    try:
        greeting = lines.read(start + timeout * FIRST_SHARE)
        pinged = greeting is None and not lines.received and not lines.ended
        if pinged:
            connection.sendall(_PING)
            greeting = lines.read(start + timeout)
        result = _judge_greeting(blank, greeting)
        if result is None:
            return _judge_other(blank, lines)
        if result.product is None:  # BYE in place of the greeting
            return result
        if not pinged:
            connection.sendall(_PING)
        return _judge_ping(result, lines, start + timeout)
    except OSError:  # it had accepted, so it is not unreachable
        return _judge_other(attrs.evolve(blank, message=_ABORTED), lines)


def _judge_greeting(blank: ProbeResult, line: bytes | None) -> ProbeResult | None:
    """Return the result for a greeting, or for a BYE in its place; ``None`` for anything else."""
    message = _parse(line)
    if not isinstance(message, Notice):
        return None
    if message.word == b"ESPS/1":
        product = printable(b" ".join(message.args[:1]))  # what follows is for later versions
        return attrs.evolve(blank, verdict=ESPS, product=product)
    if message in _REFUSALS:
        arguments = printable(b" ".join(message.args))
        return attrs.evolve(blank, verdict=ESPS, message=f"it refuses the connection: {arguments}")
    return None


def _judge_ping(greeted: ProbeResult, lines: _LineReader, deadline: float) -> ProbeResult:
    while True:
        line = lines.read(deadline)
        if line is None:
            reason = "it greets, but does not reply to PING"
            return attrs.evolve(
                greeted, verdict=OTHER, message=reason, excerpt=printable(lines.received)
            )
        message = _parse(line)
        if isinstance(message, Notice):
            continue
        result = _judge_reply(greeted, _TCP_TAG, message)
        if result is not None:
            return result
        reason = "it greets, but does not reply to PING as ESPS/1 does"
        return attrs.evolve(greeted, verdict=OTHER, message=reason, excerpt=printable(line))


def _judge_reply(
    result: ProbeResult, tag: bytes, message: Reply | Notice | None
) -> ProbeResult | None:
    """Return the result for an OK or ERR that answers our PING; ``None`` for anything else."""
    if message == Reply(tag, OK, (b"x",)):
        return result
    if isinstance(message, Reply) and message.tag == tag and message.kind == ERR:
        error = printable(b" ".join(message.args))
        return attrs.evolve(result, message=f"it replies to PING with an error: {error}")
    return None


def _judge_other(blank: ProbeResult, lines: _LineReader) -> ProbeResult:
    if lines.received.startswith(TLS_ALERT):
        return attrs.evolve(blank, verdict=OTHER, message=_EXPECTS_TLS)
    if _PLAIN_ERROR.match(lines.received):
        excerpt = printable(lines.received)
        return attrs.evolve(blank, verdict=OTHER, message=_EXPECTS_TLS, excerpt=excerpt)
    if lines.received:
        return attrs.evolve(blank, verdict=OTHER, excerpt=printable(lines.received))
    if blank.message:
        return attrs.evolve(blank, verdict=OTHER)
    if lines.ended:
        return attrs.evolve(blank, verdict=OTHER, message="it closes without sending anything")
    return blank


class _LineReader:
    """Reads lines from a connection, up to a number of bytes and a deadline."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._pending = b""
        self.received = b""
        self.ended = False  # by the peer, or because the limit is reached

    def read(self, deadline: float) -> bytes | None:
        """Return the next line without its LF, or ``None`` at the deadline or the end."""
        while b"\n" not in self._pending:
            left = deadline - time.monotonic()
            if self.ended or left <= 0:
                return None
            self._connection.settimeout(left)
            try:
                data = self._connection.recv(_MAX_BYTES - len(self.received))
            except TimeoutError:
                return None
            self._pending += data
            self.received += data
            self.ended = not data or len(self.received) >= _MAX_BYTES
        line, _, self._pending = self._pending.partition(b"\n")
        return line


def _parse(line: bytes | None) -> Reply | Notice | None:
    try:
        return None if line is None else parse_answer_untrusted(line)
    except ProtocolError:
        return None


# ---- UDP ---------------------------------------------------------------------------------------


def _probe_udp(blank: ProbeResult, start: float, timeout: float) -> ProbeResult:
    tag = secrets.token_hex(8).encode()  # 64 random bits: no other server replies with it by chance
    infos = socket.getaddrinfo(blank.host, blank.port, type=socket.SOCK_DGRAM)
    family, kind, protocol, _, address = infos[0]
    with socket.socket(family, kind, protocol) as sender:
        sender.connect(address)  # so that recv() reports an ICMP error
        _refuse_self_connection(sender)
        for share in (FIRST_SHARE, 1.0):  # sent twice, in case one is lost: PING is idempotent
            sender.settimeout(max(0.001, start + timeout * share - time.monotonic()))
            sender.send(tag + b" PING x\n")
            try:
                datagram = sender.recv(_MAX_BYTES)
            except TimeoutError:
                continue
            return _judge_datagram(blank, tag, datagram)
    return blank


def _judge_datagram(blank: ProbeResult, tag: bytes, datagram: bytes) -> ProbeResult:
    message = _parse(datagram.removesuffix(b"\n")) if datagram.endswith(b"\n") else None
    result = _judge_reply(attrs.evolve(blank, verdict=ESPS), tag, message)
    return result or attrs.evolve(blank, verdict=OTHER, excerpt=printable(datagram))
