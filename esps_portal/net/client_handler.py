"""What connections of any protocol have in common: how they begin, and how they can be ended.

The connection of a peer and the one of a proxy are built on it. Neither is ever idle or has a
deadline: only the protocol says what a client waits for, and for how long.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable

import attrs
import trio

from esps_portal.faults.actions import End, Send
from esps_portal.faults.fault import Fault
from esps_portal.faults.lazy_plan import actions_at_once
from esps_portal.faults.target import FaultTarget
from esps_portal.net.handshake import HandshakeError, open_stream
from esps_portal.net.stream import end_with_fin, no_problem
from esps_portal.net.stream_ends import HANDSHAKE, LINGER, FirstEnd
from esps_portal.net.watched_stream import WatchedStream


@attrs.frozen(kw_only=True)
class AcceptedClient:
    """A client whose connection was accepted.

    Attributes:
        as_aged: returns the `FaultTarget` for the connection at an age in seconds.
        certificate_problem: returns the problem that a fault gives the certificate, if there is
            TLS.
        on_failed_handshake: called with the reason where the handshake has failed.
        is_refused: whether a fault refuses the connection before anything is sent.
    """

    stream: WatchedStream
    as_aged: Callable[[float], FaultTarget]
    certificate_problem: Callable[[], str] = no_problem
    on_failed_handshake: Callable[[str], None]
    is_refused: bool = False


class ClientHandler:
    """The part of a `ConnectionHandler`, and of an `AgingConnection`, that knows no protocol.

    Args:
        name: what the journal calls us: ``peer`` or ``proxy``.
    """

    def __init__(self, name: str, accepted: AcceptedClient) -> None:
        self._name = name
        self._accepted = accepted
        self._client = accepted.stream
        #: When it was accepted; seconds on trio's clock.
        self.opened: float = trio.current_time()
        # Faults that have struck before the connection was set up; they are performed after that.
        self._early_faults: list[Fault] = []
        self._scope = trio.CancelScope()
        self._first_end = FirstEnd()

    @property
    def deadline(self) -> float:
        """Never: a client may be silent for as long as it likes."""
        return math.inf

    def expire(self) -> None:
        """Nothing: there is no deadline."""

    def abort(self) -> None:
        """End at once, with RST."""
        self._scope.cancel()

    def sever(self) -> None:
        """Send RST to the client from another thread, for a loop that is stuck."""
        self._client.sever()

    @property
    def is_idle(self) -> bool:
        """Never: only the protocol says what a client waits for."""
        return False

    def begin_anew(self) -> None:
        """Nothing: the journal is emptied with its connections, or its observer goes on."""

    def as_aged(self, age: float) -> FaultTarget:
        """Return the `FaultTarget` for this connection at an age in seconds."""
        return self._accepted.as_aged(age)

    async def _admit(self) -> bool:
        """Do the TLS handshake, if there is one, unless a fault refuses the client.

        Returns:
            Whether it can be served; otherwise FIN was sent.
        """
        await self._client.turns.opening.begin()
        if self._accepted.is_refused:
            self._first_end.note(self._name, "fin")
            await end_with_fin(self._client, LINGER)
            return False
        problem = self._accepted.certificate_problem
        try:
            await open_stream(self._client, problem, seconds=HANDSHAKE, linger=LINGER)
        except HandshakeError as error:
            self._accepted.on_failed_handshake(error.reason)
            self._first_end.note(*error.first_end(self._name))
            return False
        return True


def strike_at_once(fault: Fault, side: WatchedStream, end: Callable[[str], None]) -> None:
    """Perform a fault that strikes at an age, at once, even if other bytes wait to be sent.

    Args:
        side: gets the bytes that the fault sends.
        end: ends the connection; called with how: ``close``, ``reset`` and so on.
    """
    for action in actions_at_once(fault):
        if isinstance(action, Send):
            with contextlib.suppress(trio.BrokenResourceError):
                side.send_now(action.data)
        elif isinstance(action, End):
            end(action.how)
