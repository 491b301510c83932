"""Decides which request a reply belongs to, for a protocol with framing.

It is the oldest request without a reply, or the one with the same key, such as a tag. Further
replies, while no request waits, belong to the last one that had a reply.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable

from esps_portal.exchanges.live_exchange import CLIENT, SERVER, LiveExchange
from esps_portal.exchanges.tracker import ExchangeTracker

# Requests that wait for a reply on one connection; the oldest is given up.
_MAX_WAITING = 4096

#: Returns what pairs a reply with its request, from all bytes of either.
KeyOf = Callable[[bytes], Hashable]


class Pairing:
    """The exchanges of one connection that go on.

    Args:
        tracker: begins and ends them.
        key_of: ``None``: only their order pairs replies with requests.
    """

    def __init__(self, tracker: ExchangeTracker, key_of: KeyOf | None) -> None:
        self._tracker = tracker
        self._key_of = key_of
        # Exchanges without a reply so far; and the last one that had a reply.
        self._waiting: deque[tuple[Hashable, LiveExchange]] = deque()
        self._last: LiveExchange | None = None

    def begin(self, request: bytes, now: float) -> LiveExchange:
        """Begin the exchange of a request."""
        exchange = self._tracker.begin(now, sent_by=CLIENT)
        key = self._key_of(request) if self._key_of is not None else None
        self._waiting.append((key, exchange))
        if len(self._waiting) > _MAX_WAITING:
            _, oldest = self._waiting.popleft()
            self._tracker.end(oldest, now, complete=False)
        return exchange

    def answered_by(self, reply: bytes, now: float) -> LiveExchange:
        """Return the exchange that a reply belongs to; end the one before it."""
        position = self._position(reply)
        if position is None and self._last is not None:
            return self._last
        if self._last is not None:
            self._tracker.end(self._last, now, complete=True)
        if position is None:
            self._last = self._tracker.begin(now, sent_by=SERVER)
        else:
            _, self._last = self._waiting[position]
            del self._waiting[position]
        return self._last

    def closed(self, now: float, *, gracefully: bool) -> None:
        """End the exchanges that go on; ``gracefully``: both sides have sent FIN."""
        if self._last is not None:
            self._tracker.end(self._last, now, complete=gracefully)
        for _, exchange in self._waiting:
            self._tracker.end(exchange, now, complete=False)

    def _position(self, reply: bytes) -> int | None:
        """Return which of the waiting requests a reply answers; ``None``: none of them."""
        if not self._waiting:
            return None
        if self._key_of is None:
            return 0
        key = self._key_of(reply)
        return next((n for n, (waiting, _) in enumerate(self._waiting) if waiting == key), None)
