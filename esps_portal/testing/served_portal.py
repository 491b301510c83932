"""A portal, as a thread of a test serves it."""

from __future__ import annotations

import attrs
import trio

from esps_portal.mock.scripted import ScriptedPortal
from esps_portal.net.bind import CannotBindError
from esps_portal.server.serving import ServerConfig, serve
from esps_portal.testing.served import PortListeners


@attrs.frozen
class ServedPortal:
    """A portal with its configuration; see `Served`."""

    _portal: ScriptedPortal
    _config: ServerConfig
    name: str = "portal"
    start_errors: tuple[type[Exception], ...] = (CannotBindError,)

    async def serve(self, *, task_status: trio.TaskStatus[PortListeners]) -> None:
        """Serve until it is cancelled."""
        await serve(self._config, task_status=task_status)

    @property
    def is_busy(self) -> bool:
        """Never: what a portal waits for it reads."""
        return False

    def start_clock(self, now: float) -> None:
        """Count the times of the journal from now."""
        self._portal.script.journal.start = now

    @property
    def has_news(self) -> bool:
        """Whether anything has happened since `clear`."""
        return self._portal.script.journal.has_news

    def clear(self) -> None:
        """Forget what was placed and what has happened."""
        self._portal.reset()

    def end(self) -> None:
        """Notify those who wait that nothing more will happen."""
        self._portal.script.end()
        if self._config.tls is not None:
            self._config.tls.close()
