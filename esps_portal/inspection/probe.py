"""Whether what listens there speaks ESPS/1: one connection, one datagram, a time-out for each.

Over TCP a portal speaks first, so its greeting decides; a ``PING`` then checks that it answers.
Without a greeting the ``PING`` is sent all the same: a server that waits for its client to speak
first (HTTP, say) shows itself by its complaint. A peer is a stranger here: what is read of it is
bounded in bytes and in time, and never raises.
"""

from __future__ import annotations

import secrets
import socket
import threading
import time

import attrs

from esps_portal.protocol.errors import ProtocolError
from esps_portal.protocol.escape import printable
from esps_portal.protocol.messages import ERR, OK, Notice, Reply, parse_answer_untrusted

_MOST_BYTES = 16384  # two of the longest lines of a default portal
_BROKE_OFF = "it breaks the connection off"
_TCP_TAG = b"inspect"
# What may come in place of a greeting. Any other BYE may be IMAP's (RFC 9051 section 7.1.5).
_GOODBYES = (Notice(b"BYE", (b"busy",)), Notice(b"BYE", (b"closing",)))
_TLS_ALERT = b"\x15\x03"  # RFC 8446 section 5.1: type 21, and a version that begins with 3
_PING = _TCP_TAG + b" PING x\n"

ESPS = "esps-1"
OTHER = "something else"
SILENT = "silent"
CLEAR = "clear"
UNREACHABLE = "unreachable"


@attrs.frozen
class Answer:
    """What one address answered over one transport.

    Attributes:
        transport: ``tcp`` or ``udp``.
        host: the address that was asked.
        port: its port.
        verdict: ``esps-1``; ``something else``; ``silent`` (it took the question and said nothing
            in time); ``clear`` (nothing listens there); ``unreachable`` (it could not be asked).
        product: what the greeting names, over TCP.
        message: an explanation for a person.
        excerpt: the beginning of what something else said, as visible ASCII.
        seconds: how long it all took.
    """

    transport: str
    host: str
    port: int
    verdict: str
    product: str | None = None
    message: str = ""
    excerpt: str = ""
    seconds: float = 0.0


@attrs.frozen
class Target:
    """An address to ask, and how."""

    transport: str
    host: str
    port: int


def ask_all(targets: list[Target], timeout: float) -> list[Answer]:
    """Ask every target at the same time; the answers come in the order of the targets."""
    answers: dict[Target, Answer] = {}

    def ask_into(target: Target) -> None:
        answers[target] = ask(target, timeout)

    # A thread for each: an address that is silent must not make the next one wait.
    threads = [threading.Thread(target=ask_into, args=(t,), daemon=True) for t in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [answers[target] for target in targets]


def ask(target: Target, timeout: float) -> Answer:
    """Ask one target for at most ``timeout`` seconds."""
    begun = time.monotonic()
    blank = Answer(target.transport, target.host, target.port, SILENT)
    talk = _ask_tcp if target.transport == "tcp" else _ask_udp
    try:
        answer = talk(blank, begun, timeout)
    except ConnectionRefusedError:
        answer = attrs.evolve(blank, verdict=CLEAR)
    except ConnectionResetError:  # so soon that it looks like a failed connect
        answer = attrs.evolve(blank, verdict=OTHER, message=_BROKE_OFF)
    except TimeoutError:
        answer = attrs.evolve(blank, verdict=UNREACHABLE, message="no connection in time")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        answer = attrs.evolve(blank, verdict=UNREACHABLE, message=reason)
    return attrs.evolve(answer, seconds=time.monotonic() - begun)


def _refuse_self(ours: socket.socket) -> None:
    # The kernel may pick the asked port as our own: the socket would be connected to itself.
    try:
        alone = ours.getsockname() == ours.getpeername()
    except OSError:  # the peer has gone already: reading shows it
        return
    if alone:
        raise ConnectionRefusedError


# ---- TCP ---------------------------------------------------------------------------------------


def _ask_tcp(blank: Answer, begun: float, timeout: float) -> Answer:
    # Half of the time is the greeting's; what is left is for the reply, or for the complaint.
    with socket.create_connection((blank.host, blank.port), timeout) as connection:
        _refuse_self(connection)
        lines = _Lines(connection)
        try:
            greeting = lines.read(begun + timeout / 2)
            asked = greeting is None and not lines.said and not lines.over
            if asked:
                connection.sendall(_PING)
                greeting = lines.read(begun + timeout)
            answer = _greeted(blank, greeting)
            if answer is None:
                return _something_else(blank, lines)
            if answer.product is None:  # goodbye in place of the greeting
                return answer
            if not asked:
                connection.sendall(_PING)
            return _pinged(answer, lines, begun + timeout)
        except OSError:  # it was there, so it is not unreachable
            return _something_else(attrs.evolve(blank, message=_BROKE_OFF), lines)


def _greeted(blank: Answer, line: bytes | None) -> Answer | None:
    """Return what a greeting says: ESPS/1 with a product, or one of its goodbyes; else None."""
    message = _parse(line)
    if not isinstance(message, Notice):
        return None
    said = printable(b" ".join(message.args))
    if message.word == b"ESPS/1":
        return attrs.evolve(blank, verdict=ESPS, product=said)
    if message in _GOODBYES:
        return attrs.evolve(blank, verdict=ESPS, message=f"it turned us away: {said}")
    return None


def _pinged(greeted: Answer, lines: _Lines, deadline: float) -> Answer:
    while True:
        line = lines.read(deadline)
        if line is None:
            reason = "it greets, but does not answer PING"
            return attrs.evolve(
                greeted, verdict=OTHER, message=reason, excerpt=printable(lines.said)
            )
        message = _parse(line)
        if isinstance(message, Notice):
            continue
        if message == Reply(_TCP_TAG, OK, (b"x",)):
            return greeted
        if isinstance(message, Reply) and message.tag == _TCP_TAG and message.kind == ERR:
            refused = printable(b" ".join(message.args))
            return attrs.evolve(greeted, message=f"it refuses PING: {refused}")
        reason = "it greets, but answers PING with something else"
        return attrs.evolve(greeted, verdict=OTHER, message=reason, excerpt=printable(line))


def _something_else(blank: Answer, lines: _Lines) -> Answer:
    if lines.said.startswith(_TLS_ALERT):
        return attrs.evolve(blank, verdict=OTHER, message="it seems to want TLS")
    if lines.said:
        return attrs.evolve(blank, verdict=OTHER, excerpt=printable(lines.said))
    if blank.message:
        return attrs.evolve(blank, verdict=OTHER)
    if lines.over:
        return attrs.evolve(blank, verdict=OTHER, message="it closes without a word")
    return blank


class _Lines:
    """Lines from a connection, up to a number of bytes and a time."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._pending = b""
        self.said = b""  # all that came
        self.over = False  # nothing more will come, or is wanted

    def read(self, deadline: float) -> bytes | None:
        """Return the next line without its LF, or None: not in time, or not at all."""
        while b"\n" not in self._pending:
            left = deadline - time.monotonic()
            if self.over or left <= 0:
                return None
            self._connection.settimeout(left)
            try:
                came = self._connection.recv(_MOST_BYTES - len(self.said))
            except TimeoutError:
                return None
            self._pending += came
            self.said += came
            self.over = not came or len(self.said) >= _MOST_BYTES
        line, _, self._pending = self._pending.partition(b"\n")
        return line


def _parse(line: bytes | None) -> Reply | Notice | None:
    try:
        return None if line is None else parse_answer_untrusted(line)
    except ProtocolError:
        return None


# ---- UDP ---------------------------------------------------------------------------------------


def _ask_udp(blank: Answer, begun: float, timeout: float) -> Answer:
    tag = secrets.token_hex(8).encode()  # 64 random bits: nobody answers it by chance
    found = socket.getaddrinfo(blank.host, blank.port, type=socket.SOCK_DGRAM)
    family, kind, protocol, _, address = found[0]
    with socket.socket(family, kind, protocol) as sender:
        sender.connect(address)  # so that an ICMP refusal reaches us
        _refuse_self(sender)
        for share in (0.5, 1.0):  # one loss is forgiven: PING may be repeated under its tag
            sender.settimeout(max(0.001, begun + timeout * share - time.monotonic()))
            sender.send(tag + b" PING x\n")
            try:
                datagram = sender.recv(_MOST_BYTES)
            except TimeoutError:
                continue
            return _replied(blank, tag, datagram)
    return blank


def _replied(blank: Answer, tag: bytes, datagram: bytes) -> Answer:
    message = _parse(datagram.removesuffix(b"\n")) if datagram.endswith(b"\n") else None
    if message == Reply(tag, OK, (b"x",)):
        return attrs.evolve(blank, verdict=ESPS)
    if isinstance(message, Reply) and message.tag == tag and message.kind == ERR:
        refused = printable(b" ".join(message.args))
        return attrs.evolve(blank, verdict=ESPS, message=f"it refuses PING: {refused}")
    return attrs.evolve(blank, verdict=OTHER, excerpt=printable(datagram))
