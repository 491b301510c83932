"""A proxy, as a thread of a test serves it."""

from __future__ import annotations

import attrs
import trio

from esps_portal.net.bind import CannotBindError
from esps_portal.proxy.serving import OwnUpstreamError, ProxyConfig, serve_proxy
from esps_portal.testing.served import PortListeners


@attrs.frozen
class ServedProxy:
    """A proxy with its configuration; see `Served`."""

    _config: ProxyConfig
    name: str = "proxy"
    start_errors: tuple[type[Exception], ...] = (CannotBindError, OwnUpstreamError)

    async def serve(self, *, task_status: trio.TaskStatus[PortListeners]) -> None:
        """Serve until it is cancelled."""
        await serve_proxy(self._config, task_status=task_status)

    @property
    def is_busy(self) -> bool:
        """Whether it connects to the upstream."""
        return self._config.state.is_connecting

    def start_clock(self, now: float) -> None:
        """Count the times of all journals from now."""
        self._config.state.start_clock(now)

    @property
    def has_news(self) -> bool:
        """Whether anything has happened since `clear`."""
        return any(journal.has_news for journal in self._config.state.journals)

    def clear(self) -> None:
        """Forget what was placed and what has happened."""
        self._config.state.clear()

    def end(self) -> None:
        """Notify those who wait that nothing more will happen."""
        self._config.state.end()
        if self._config.tls is not None:
            self._config.tls.close()
