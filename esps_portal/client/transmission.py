"""When a UDP request is sent again: RFC 7252, section 4.2, for both clients. No clock."""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterator

from esps_portal.protocol.client_connection import ClientConnection
from esps_portal.protocol.errors import TimedOutError
from esps_portal.protocol.pending_request import PendingRequest
from esps_portal.protocol.retransmission import Retransmission, needed_length, padded_length
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

# An own generator: a test that has seeded the global one expects its numbers in order.
_jitter = random.Random().random  # noqa: S311 - no secret


class Transmission:
    """A datagram that is sent again until it is answered.

    Attributes:
        datagram: what is sent.
        due: when it is to be sent again, on the clock of ``now``, in seconds.
    """

    __slots__ = ("_late", "_max_paddings", "_sent", "_waits", "datagram", "due")

    def __init__(
        self, datagram: bytes, schedule: Retransmission, now: float, late: int = 0
    ) -> None:
        """Begin to send it.

        Args:
            now: in seconds; the clock of `due`.
            late: how many shorter copies have no answer, which may still come (ESPS-UDP-49).
        """
        self.datagram: bytes = datagram
        self._late = late
        self._max_paddings = schedule.max_retransmit
        self._waits: Iterator[float] = schedule.waits(_jitter())
        self.due: float = now + next(self._waits)
        self._sent = 1

    @property
    def unanswered(self) -> int:
        """How many copies, shorter ones too, have no answer once one of them has had its answer."""
        return self._late + self._sent - 1

    def padded_length(self, pending: PendingRequest) -> int | None:
        """Return the length of a longer copy that the reply asks for, if one is to be sent."""
        return padded_length(pending, len(self.datagram), self._max_paddings)

    def is_answered_late(self, pending: PendingRequest) -> bool:
        """Whether what ended the request is the late answer to a copy of it that was shorter.

        That is so once for each such copy.
        """
        needed = needed_length(pending)
        if not self._late or needed is None or needed > len(self.datagram):
            return False
        self._late -= 1
        return True

    def repeat(self, now: float, received: bytes) -> None:
        """Make the datagram due once more, now.

        Args:
            received: the beginning of what came and is not ESPS/1, for the error.

        Raises:
            TimedOutError: it was sent as often as the schedule allows.
        """
        wait = next(self._waits, None)
        if wait is None:
            raise TimedOutError(f"no reply to {self._sent} datagrams", received)
        self._sent += 1
        self.due = now + wait


def udp_requests() -> ClientConnection:
    """Return the requests of a UDP client: a tag is 64 random bits, so nobody can forge a reply."""
    return ClientConnection(lambda: secrets.token_hex(8).encode())
