"""The calls over UDP that are remembered, so that each is executed at most once (section 7.3).

Running calls are remembered, and so are the replies of calls that are not idempotent. Of that
memory, and of the running calls, no source holds more than its share.
"""

from __future__ import annotations

import heapq
import itertools

import attrs

from esps_portal.protocol.encoded_reply import EncodedReply
from esps_portal.protocol.limits import Limits
from esps_portal.protocol.messages import Request
from esps_portal.protocol.shares import Shares, Source

# A reply is kept for at most this many windows, however often it is asked for: longer than a client
# ever asks (specification, section 7.5).
_MAX_WINDOWS = 4


@attrs.define(eq=False)
class RememberedCall:
    """A call that runs, or whose reply is kept for repeats.

    Attributes:
        key: source and tag.
        request_size: in bytes.
        keep_reply: whether the reply is kept; a call of an idempotent service just runs again.
        is_async: whether it counts against `Limits.max_in_flight`.
        expires: when the kept reply is forgotten.
        last_expiry: later than which no repeat keeps it.
    """

    key: tuple[Source, bytes]
    request: Request
    request_size: int
    keep_reply: bool
    is_async: bool
    reply: EncodedReply | None = None
    expires: float = 0.0
    last_expiry: float = 0.0


class RememberedCalls:
    """The calls that a server remembers.

    Attributes:
        running: those that run, by source and tag.
        kept: those whose reply is kept, likewise.
    """

    def __init__(self, limits: Limits) -> None:
        self._window = limits.window
        self.running: dict[tuple[Source, bytes], RememberedCall] = {}
        self.kept: dict[tuple[Source, bytes], RememberedCall] = {}
        # A heap of the kept ones, by when to look whether they have expired: one entry for each, in
        # which a number makes two of the same time differ.
        self._due: list[tuple[float, int, RememberedCall]] = []
        self._numbers = itertools.count()
        # Shares of the remembered calls, and of the running async calls.
        self._memory_shares = Shares(limits.max_remembered)
        self._running_shares = Shares(limits.max_in_flight)

    def begin(
        self,
        request: Request,
        source: Source,
        request_size: int,
        *,
        keep_reply: bool,
        is_async: bool,
    ) -> RememberedCall | None:
        """Remember a call before it is executed; see `DatagramServer.begin`."""
        if not self._memory_shares.has_room(source):
            return None
        if is_async:
            if not self._running_shares.has_room(source):
                return None
            self._running_shares.take(source)
        self._memory_shares.take(source)
        call = RememberedCall((source, request.tag), request, request_size, keep_reply, is_async)
        self.running[call.key] = call
        return call

    def finish(self, call: RememberedCall, reply: EncodedReply, now: float) -> None:
        """Note that a call has ended; keep its reply if it is to be kept."""
        del self.running[call.key]
        source, _ = call.key
        if call.is_async:
            self._running_shares.give_back(source)
        if not call.keep_reply:
            self._memory_shares.give_back(source)
            return
        call.reply = reply
        call.expires = now + self._window
        call.last_expiry = now + _MAX_WINDOWS * self._window
        self.kept[call.key] = call
        heapq.heappush(self._due, (call.expires, next(self._numbers), call))

    def renew(self, call: RememberedCall, now: float) -> None:
        """Keep a reply for longer: it was asked for again."""
        call.expires = min(now + self._window, call.last_expiry)

    def forget_expired(self, now: float) -> None:
        """Forget the replies that nobody has asked for in time."""
        while self._due and self._due[0][0] <= now:
            _, number, call = self._due[0]
            if call.expires > now:  # it was asked for again
                heapq.heapreplace(self._due, (call.expires, number, call))
            else:
                heapq.heappop(self._due)
                del self.kept[call.key]
                self._memory_shares.give_back(call.key[0])

    def forget_all(self) -> None:
        """Forget the kept replies. Running calls stay remembered."""
        self._due.clear()
        for source, _ in self.kept:
            self._memory_shares.give_back(source)
        self.kept.clear()
