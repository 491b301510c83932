"""Connects to the server behind a proxy, for one client."""

from __future__ import annotations

import ssl

import attrs
import trio

from esps_portal.journal.records import RecordedConnection
from esps_portal.log import log
from esps_portal.net.dial import DialError, dial
from esps_portal.net.dial_order import DialPlace
from esps_portal.net.silence import Silence
from esps_portal.net.stream_ends import HANDSHAKE
from esps_portal.net.turns import ConnectionTurns
from esps_portal.net.watched_stream import WatchedStream
from esps_portal.proxy.loop_detection import REASON, Leg, Link, is_loop
from esps_portal.proxy.state import ProxyState


@attrs.frozen(kw_only=True)
class Connector:
    """Makes the connection to the upstream that belongs to a client's.

    Attributes:
        connection: what the journal has of the client's connection.
        inbound: the client's connection, to detect loops.
        turns: those that both connections wait for.
        silence: of the network, for the connection to the upstream.
        tls: the context for TLS with the upstream; `None`: the upstream speaks none.
        place: its place in the order of connects; `None`: it begins at once.
    """

    state: ProxyState
    connection: RecordedConnection
    inbound: Leg
    turns: ConnectionTurns
    silence: Silence
    tls: ssl.SSLContext | None
    place: DialPlace | None

    async def connect(self) -> WatchedStream | None:
        """Return the connection to the upstream; `None` if that fails, which is recorded."""
        self.state.connecting += 1
        try:
            return await self._connect()
        except DialError as error:
            reason = str(error)
        finally:
            self.state.connecting -= 1
        log.warning("cannot reach %s: %s", self.state.upstream, reason)
        self.state.note_unreachable(reason)
        self.connection.unreachable = reason
        return None

    def leave(self) -> None:
        """Let the connections after this one begin, whether it has begun or not."""
        if self.place is not None:
            self.place.leave()

    async def _connect(self) -> WatchedStream:
        """Connect over TCP, and TLS where it is wanted.

        Raises:
            DialError: nobody answers there; or what the client sends has come through here before;
                or the TLS handshake has failed, for example because of an expired certificate.
        """
        upstream = self.state.upstream
        try:
            self._refuse_loop()
            connected = await dial(upstream.host, upstream.port, place=self.place)
        finally:
            self.leave()
        try:
            link = Link.note(self.state, self.inbound, connected)
            end = WatchedStream(connected, self.silence, turns=self.turns)
        except OSError as error:
            connected.close()
            raise _dial_error(error) from error
        end.on_close = link.remove
        try:
            # The other proxy may have noted its socket only now, after we had accepted it.
            self._refuse_loop()
            if self.tls is not None:
                await self._shake_hands(end, self.tls)
        except BaseException:
            end.abort()
            raise
        return end

    def _refuse_loop(self) -> None:
        if is_loop(self.state, self.inbound):
            raise DialError(REASON)

    async def _shake_hands(self, end: WatchedStream, context: ssl.SSLContext) -> None:
        """Do the TLS handshake, within a bound."""
        host = self.state.upstream.host
        try:
            with trio.fail_after(HANDSHAKE):
                await end.shake_hands_as_client(context, host, self.state.handshakes)
        except trio.TooSlowError as error:
            raise DialError(f"no TLS handshake in {HANDSHAKE:g} s") from error
        except OSError as error:
            raise _dial_error(error) from error


def _dial_error(error: OSError) -> DialError:
    return DialError(error.strerror or "it was reset")
