"""One client of a peer over UDP: its datagrams and the replies, in the journal and under faults."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import trio

from esps_portal.exchanges.live_exchange import CLIENT, SERVER, LiveExchange
from esps_portal.exchanges.tracker import ExchangeTracker
from esps_portal.faults.datagram_plan import pad_bytes
from esps_portal.faults.target import Stage
from esps_portal.net.datagram_fault_writer import DatagramFaultWriter
from esps_portal.net.datagram_sender import Sender
from esps_portal.peer.answerer import Answerer


class DatagramClient:
    """One client; see the module.

    Args:
        sender: where replies go.
        tracker: the journal and the faults.
        answerer: says what to do about a datagram.

    Attributes:
        on_closed: called when it is forgotten.
        waiting: datagrams that come after one that a conversation still answers; ``None``: it
            answers none.
    """

    def __init__(self, sender: Sender, tracker: ExchangeTracker, answerer: Answerer) -> None:
        self.answerer: Answerer = answerer
        self.on_closed: Callable[[], None] = lambda: None
        self.waiting: deque[LiveExchange] | None = None
        self._sender = sender
        self._tracker = tracker
        self._open: set[LiveExchange] = set()

    def request(self, datagram: bytes, now: float) -> tuple[LiveExchange, float | None]:
        """Take a datagram; return its exchange, and its delay in seconds, ``None``: it is lost."""
        tracker = self._tracker
        exchange = tracker.begin(now, sent_by=CLIENT)
        exchange.payload = datagram
        self._open.add(exchange)
        tracker.journal.sent(exchange.record, CLIENT, datagram, now, is_whole=True)
        plan = tracker.plan_of_unit(exchange, Stage.REQUEST, now)
        if plan is None:
            return exchange, 0.0
        delay = plan.delay_before()
        plan.finish()
        return exchange, delay

    def reply(self, datagram: bytes, exchange: LiveExchange, writer: DatagramFaultWriter) -> None:
        """Send a datagram, as faults change it."""
        tracker, record, now = self._tracker, exchange.record, trio.current_time()
        tracker.journal.sent(record, SERVER, datagram, now, is_whole=True)
        plan = tracker.plan_of_unit(exchange, Stage.REPLY, now)
        if plan is None:
            writer.send(datagram, self._sender)
        else:
            changed = plan.datagram(datagram, pad_bytes, writer.holds)
            writer.perform(
                changed,
                self._sender,
                lambda: tracker.journal.delivered(record, trio.current_time()),
            )
        record.complete = True

    def end(self, exchange: LiveExchange, now: float) -> None:
        """End an exchange: nothing more is said about its datagram."""
        if exchange in self._open:
            self._open.remove(exchange)
            has_reply = exchange.record.answered is not None
            self._tracker.end(exchange, now, complete=has_reply)

    def explain(self) -> None:
        """Let faults record why they have not struck what is still going on."""
        self._tracker.explain()

    def closed(self, now: float) -> None:
        """End what is going on with the client, which is forgotten."""
        for exchange in sorted(self._open, key=lambda each: each.record.number):
            self.end(exchange, now)
        self._tracker.closed()
        self.answerer.closed()
        self.on_closed()
