"""One client of a peer over UDP: its datagrams and the replies, in the journal and under faults."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import attrs
import trio

from esps_portal.exchanges.live_exchange import CLIENT, SERVER, LiveExchange
from esps_portal.exchanges.tracker import ExchangeTracker
from esps_portal.faults.datagram_plan import pad_bytes
from esps_portal.faults.target import Stage
from esps_portal.net.datagram_fault_writer import DatagramFaultWriter
from esps_portal.net.datagram_sender import Sender
from esps_portal.peer.answerer import Answerer


@attrs.frozen(eq=False)
class DatagramExchange:
    """A datagram of the client's, and its exchange in the journal."""

    request: bytes
    live: LiveExchange


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
        self.waiting: deque[DatagramExchange] | None = None
        self._sender = sender
        self._tracker = tracker
        self._open: set[DatagramExchange] = set()

    def request(self, datagram: bytes, now: float) -> tuple[DatagramExchange, float | None]:
        """Take a datagram; return its exchange, and its delay in seconds, ``None``: it is lost."""
        tracker = self._tracker
        live = tracker.begin(now, said_by=CLIENT)
        live.said = datagram
        exchange = DatagramExchange(datagram, live)
        self._open.add(exchange)
        tracker.journal.said(live.record, CLIENT, datagram, now, is_whole=True)
        plan = tracker.plan_of_unit(live, Stage.REQUEST, now)
        if plan is None:
            return exchange, 0.0
        delay = plan.delay_before()
        plan.finish()
        return exchange, delay

    def reply(
        self, datagram: bytes, exchange: DatagramExchange, writer: DatagramFaultWriter
    ) -> None:
        """Send a datagram, or what faults make of it."""
        tracker, live, now = self._tracker, exchange.live, trio.current_time()
        tracker.journal.said(live.record, SERVER, datagram, now, is_whole=True)
        plan = tracker.plan_of_unit(live, Stage.REPLY, now)
        if plan is None:
            writer.send(datagram, self._sender)
        else:
            changed = plan.datagram(datagram, pad_bytes)
            record = live.record
            writer.perform(
                changed,
                self._sender,
                lambda: tracker.journal.delivered(record, trio.current_time()),
            )
        live.record.note_reply()

    def end(self, exchange: DatagramExchange, now: float) -> None:
        """End an exchange: nothing more is said about its datagram."""
        if exchange in self._open:
            self._open.remove(exchange)
            self._tracker.end(exchange.live, now, complete=exchange.live.record.reply_size > 0)

    def explain(self) -> None:
        """Let faults record why they have not struck what is still going on."""
        self._tracker.explain()

    def closed(self, now: float) -> None:
        """Forget it."""
        for exchange in sorted(self._open, key=lambda each: each.live.record.number):
            self.end(exchange, now)
        self._tracker.closed()
        self.answerer.closed()
        self.on_closed()
