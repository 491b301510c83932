"""A peer, as a thread of a test serves it."""

from __future__ import annotations

import attrs
import trio

from esps_portal.net.bind import CannotBindError
from esps_portal.peer.serving import PeerConfig, serve_peer
from esps_portal.testing.served import PortListeners


@attrs.frozen
class ServedPeer:
    """A peer with its configuration; see `Served`."""

    _config: PeerConfig
    name: str = "peer"
    start_errors: tuple[type[Exception], ...] = (CannotBindError,)

    async def serve(self, *, task_status: trio.TaskStatus[PortListeners]) -> None:
        """Serve until it is cancelled."""
        await serve_peer(self._config, task_status=task_status)

    @property
    def is_busy(self) -> bool:
        """Never: what a peer waits for it reads."""
        return False

    def start_clock(self, now: float) -> None:
        """Count the times of the journal from now."""
        self._config.state.start_clock(now)

    @property
    def has_news(self) -> bool:
        """Whether anything has happened since `clear`."""
        return self._config.state.journal.has_news

    def clear(self) -> None:
        """Forget what was placed and what has happened."""
        self._config.state.clear()

    def end(self) -> None:
        """Notify those who wait that nothing more will happen."""
        self._config.state.end()
        if self._config.tls is not None:
            self._config.tls.close()
