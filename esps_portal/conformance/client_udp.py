"""The server of a case over UDP."""

from __future__ import annotations

import contextlib
import itertools
import re
import struct
import time
from collections.abc import Sequence
from typing import Any

import attrs
import trio

from esps_portal.conformance.case_values import CaseValues
from esps_portal.conformance.client_cases import ClientCase, Say, Wait
from esps_portal.conformance.client_request import Request, parse_request
from esps_portal.conformance.outcome import MismatchError

_MOST = 5  # datagrams: max-retransmit and the first
_FIRST_WAIT = 0.05  # ack-timeout-loopback, in seconds
_TOLERANCE = 0.03  # seconds between the sending of a datagram and its arrival here
_TAG_LENGTH = 11  # of 65 signs: the least that holds 64 random bits
_TOO_LARGE = re.compile(r"\{tag\} ERR too-large ([0-9]+)")


# The kernel notes when a datagram came; a busy machine reads it much later.
_SO_TIMESTAMP = 29  # socket(7) of Linux
_TIMEVAL = struct.Struct("ll")
_ANCILLARY = 128  # bytes: more than a control message with a time needs


def _arrival(ancillary: Sequence[tuple[int, int, bytes]]) -> float:
    """Return when a datagram came, in seconds; without the kernel's word, now."""
    for level, kind, data in ancillary:
        if (level, kind) == (trio.socket.SOL_SOCKET, _SO_TIMESTAMP):
            seconds, microseconds = _TIMEVAL.unpack(data[: _TIMEVAL.size])
            return float(seconds + microseconds / 1e6)
    return time.time()


@attrs.frozen
class _Received:
    data: bytes
    source: tuple[Any, ...]
    at: float


@attrs.define(eq=False)
class UdpServer:
    """Serves one case on one port.

    Attributes:
        reached: the client has sent something.
        asked: the call has come.
        fault: what was wrong with what the client has sent.
    """

    case: ClientCase
    values: CaseValues
    socket: trio.socket.SocketType
    other: trio.socket.SocketType
    reached: bool = False
    asked: bool = False
    fault: MismatchError | None = None
    _received: list[_Received] = attrs.field(factory=list)

    @classmethod
    async def open(cls, case: ClientCase, values: CaseValues) -> UdpServer:
        """Listen on a free port of the loopback address."""
        asked, other = (trio.socket.socket(type=trio.socket.SOCK_DGRAM) for _ in range(2))
        for sock in (asked, other):
            await sock.bind(("127.0.0.1", 0))
        with contextlib.suppress(OSError):
            asked.setsockopt(trio.socket.SOL_SOCKET, _SO_TIMESTAMP, 1)
        return cls(case, values, asked, other)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"esps+udp://127.0.0.1:{self.socket.getsockname()[1]}"

    async def run(self) -> None:
        """Serve until cancelled, or until the client has sent something wrong."""
        source: Any
        async with trio.open_nursery() as nursery:
            while self.fault is None:
                data, ancillary, _, source = await self.socket.recvmsg(65536, _ANCILLARY)
                self._received.append(_Received(data, source, _arrival(ancillary)))
                await self._take(data, source, nursery)
            nursery.cancel_scope.cancel()

    def close(self) -> None:
        """Listen no more."""
        self.socket.close()
        self.other.close()

    async def _take(self, data: bytes, source: tuple[Any, ...], nursery: trio.Nursery) -> None:
        self.reached = True
        try:
            request = parse_request(data)
        except MismatchError as error:
            self.fault = error
            return
        if not request.is_call:
            await self.socket.sendto(f"{request.tag} ERR busy\n".encode(), source)
            return
        self.asked = True
        number = sum(b" CALL " in one.data for one in self._received)
        if number <= len(self.case.replies):
            nursery.start_soon(self._reply, request, number - 1, source)

    async def _reply(self, request: Request, number: int, source: tuple[Any, ...]) -> None:
        for action in self.case.replies[number]:
            if isinstance(action, Wait):
                await trio.sleep(action.seconds)
            elif isinstance(action, Say):
                sender = self.other if action.other else self.socket
                await sender.sendto(self.values.fill(action.text, request.tag), source)

    def finish(self) -> None:
        """Judge what is known only at the end: repeats, their order in time, and padding."""
        try:
            self._judge([one for one in self._received if b" CALL " in one.data])
        except MismatchError as error:
            self.fault = self.fault or error

    def _judge(self, calls: list[_Received]) -> None:
        if not calls:
            return
        first = calls[0]
        if len(parse_request(first.data).tag) < _TAG_LENGTH:
            raise MismatchError("form", "a tag of 64 random bits (ESPS-UDP-31)", first.data)
        repeats = 0
        for number, (before, one) in enumerate(itertools.pairwise(calls)):
            if one.source != before.source:
                raise MismatchError("source", "the same port (ESPS-UDP-40)", one.data)
            if one.data != before.data:
                needed = self._needed(number, len(before.data))
                self._judge_padding(first, one, needed)
                repeats = 0
                continue
            waited, least = one.at - before.at, _FIRST_WAIT * 2**repeats - _TOLERANCE
            repeats += 1
            if waited < least:
                allowed = f"a repeat after {least:.3f} s at the earliest (ESPS-UDP-35)"
                raise MismatchError("time", allowed, one.data, f"after {waited:.3f} s")
            if repeats >= _MOST:
                raise MismatchError("silence", f"at most {_MOST} datagrams (ESPS-UDP-35)", one.data)

    def _needed(self, number: int, size: int) -> int:
        """Return the NEEDED of the replies up to that to a datagram that its client acts on.

        That is the first one over the size of the datagram: a repeat may have crossed with it, and
        have got the next one. Where none is, it is the last one; 0: there was none.
        """
        replies = [action for actions in self.case.replies[: number + 1] for action in actions]
        texts = [action.text for action in replies if isinstance(action, Say)]
        found = [match for text in texts if (match := _TOO_LARGE.match(text))]
        sizes = [int(match[1]) for match in found]
        return min((each for each in sizes if each > size), default=sizes[-1] if sizes else 0)

    def _judge_padding(self, first: _Received, one: _Received, needed: int) -> None:
        if not needed:
            raise MismatchError("form", "the identical datagram (ESPS-UDP-33)", one.data)
        same = parse_request(one.data) == parse_request(first.data)
        if not same or len(one.data) < needed:
            allowed = f"the same request in {needed} bytes at least (ESPS-UDP-18)"
            raise MismatchError("size", allowed, one.data)
