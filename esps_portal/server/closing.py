"""Ends a connection, as `ENDINGS` says (specification, section Ends).

Running calls get time to end, then the last line is sent, then FIN or RST. After a FIN, further
input is discarded for a while.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
import trio

from esps_portal.net.stream import Stream
from esps_portal.protocol.limits import Limits
from esps_portal.protocol.server_connection import ServerConnection
from esps_portal.protocol.states import State
from esps_portal.server.call_tasks import CallTasks
from esps_portal.server.drain import Drain
from esps_portal.server.endings import EndReason, How, reason_of
from esps_portal.server.reply_writer import ReplyWriter


@attrs.define(eq=False)
class Closing:
    """Ends one connection.

    Args:
        on_fin: called once FIN is sent: the client may stay open for long.
        on_discarded: called with what the client still sends after that.
    """

    _stream: Stream
    _protocol: ServerConnection
    _replies: ReplyWriter
    _calls: CallTasks
    _drain: Drain
    _limits: Limits
    _on_fin: Callable[[], None] = attrs.field(kw_only=True)
    _on_discarded: Callable[[bytes], None] = attrs.field(kw_only=True)
    # The scopes in which it waits for the client: a final end cancels the first, a shutdown the
    # second.
    _deaf_wait: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    _mute_wait: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)

    def shut_down(self) -> None:
        """Stop waiting for the client: the server shuts down."""
        self._mute_wait.cancel()
        if self._replies.end is EndReason.DEAF:
            self._deaf_wait.deadline = trio.current_time() + self._limits.drain

    def cancel(self) -> None:
        """Write no further line: a final end has replaced this one."""
        self._drain.cancel()
        self._deaf_wait.cancel()

    async def run(self) -> bool:
        """End the connection; return whether the client sent FIN although it got nothing more.

        Raises:
            trio.BrokenResourceError: the client has reset the connection.
        """
        replies = self._replies
        if replies.end is EndReason.DEAF:
            await self._stay_deaf()
        elif not replies.is_final:
            await self._send_last_lines()
        await self._calls.cancel_all()  # nothing that they still reply would be sent
        how = replies.ending.how  # a fault may have ended the drain
        if how in (How.FIN, How.RST):
            replies.release()
        if how not in (How.RST_AT_ONCE, How.GONE):
            await replies.writer.send_everything()
        if how is How.RST:
            # So that the client gets what comes before a RST, unless it does not read.
            with trio.move_on_after(self._limits.stall):
                await self._stream.wait_sent()
        if how in (How.FIN, How.MUTE_AFTER_FIN):
            self._stream.send_eof()
            self._on_fin()
        return await self._discard_input(how)

    async def _stay_deaf(self) -> None:
        """Read nothing more; send the replies of running calls, late ones too, and then nothing."""
        with self._deaf_wait:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._end_when_reset)
                await self._calls.until_all_ended()
                try:
                    await self._replies.until_sent()
                except trio.BrokenResourceError as error:
                    self._replies.end_for(reason_of(error))
                with self._mute_wait, trio.move_on_after(self._limits.idle):
                    await trio.sleep_forever()
                nursery.cancel_scope.cancel()

    async def _end_when_reset(self) -> None:
        await self._stream.wait_reset()
        self._replies.end_for(EndReason.BROKEN)

    async def _send_last_lines(self) -> None:
        protocol, replies = self._protocol, self._replies
        replies.release()
        if replies.end is EndReason.IDLE:
            replies.append(protocol.idle_timeout().encode())
        elif replies.end is EndReason.SHUTDOWN and (notice := protocol.shut_down()):
            replies.append(notice.encode())
        if replies.ending.drains and protocol.state is not State.ENDED:
            await self._drain.run()

    async def _discard_input(self, how: How) -> bool:
        """Discard what the client sends, for as long as `ENDINGS` says."""
        if how is How.FIN:
            with trio.move_on_after(self._limits.linger):
                await self._until_finished()
        elif how in (How.MUTE, How.MUTE_AFTER_FIN):
            with self._mute_wait, trio.move_on_after(self._limits.idle):
                await self._until_finished()
                return True
        return False

    async def _until_finished(self) -> None:
        while data := await self._stream.receive():
            self._on_discarded(data)
