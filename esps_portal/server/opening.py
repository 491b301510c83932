"""How a connection begins: the TLS handshake and the greeting, both of which faults may change."""

from __future__ import annotations

import attrs
import trio

from esps_portal.net.handshake import open_stream
from esps_portal.net.stream import Stream
from esps_portal.protocol.limits import Limits
from esps_portal.protocol.messages import Notice
from esps_portal.protocol.registry import VERSION
from esps_portal.server.reply_writer import ReplyWriter
from esps_portal.server.stage_faults import StageFaults


@attrs.define(eq=False)
class Opening:
    """Opens one connection.

    Args:
        product: the name and version in the greeting.

    Attributes:
        is_refused: a fault ends the connection before its greeting.
        has_greeted: the greeting was sent, maybe as a fault has changed it.
    """

    _stream: Stream
    _replies: ReplyWriter
    _faults: StageFaults
    _limits: Limits
    _product: str
    is_refused: bool = attrs.field(init=False)
    has_greeted: bool = attrs.field(default=False, init=False)

    @is_refused.default
    def _ask_faults(self) -> bool:
        # Already now: faults number connections in the order in which they are accepted.
        return self._faults.is_refused()

    @property
    def needs_handshake(self) -> bool:
        """Whether a handshake is due."""
        return self._stream.needs_handshake and not self.is_refused

    async def shake_hands(self) -> None:
        """Do the handshake, within a bound.

        Raises:
            HandshakeError: it has failed; FIN was sent.
        """
        await open_stream(
            self._stream,
            self._faults.certificate_problem,
            seconds=self._limits.stall,
            linger=self._limits.linger,
        )

    def greet_now(self) -> None:
        """Add the greeting to what is sent; no fault strikes it."""
        self.has_greeted = True
        self._replies.append(self._greeting)

    async def greet(self, nursery: trio.Nursery) -> None:
        """Send the greeting, or what faults make of it, unless that was done."""
        if self.has_greeted:
            return
        exchange = self._faults.greeting()
        if exchange is None:
            self.greet_now()
            return
        self.has_greeted = True
        self._replies.expect_fault(nursery)
        await self._replies.write(self._greeting, exchange, final=True, must_send=True)

    @property
    def _greeting(self) -> bytes:
        return Notice(VERSION, (self._product.encode(),)).encode()
