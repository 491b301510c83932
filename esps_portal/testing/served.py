"""A portal, a proxy or a peer with its configuration, ready to be served for a test."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs

from esps_portal.exchanges.server_state import ServerState
from esps_portal.net.bind import CannotBindError
from esps_portal.net.listeners import Listeners
from esps_portal.net.tls_server import ServerTLS


@attrs.frozen
class ServerAddress:
    """Where clients reach a server.

    Attributes:
        host: a literal address; ``memory``: there are no sockets.
        port: 0 where there are none.
        transports: what is served: tcp or tls, udp.
        tls_ca: the path of the file of a CA of its own.
    """

    host: str
    port: int
    transports: tuple[str, ...] = ()
    tls_ca: str | None = None

    @classmethod
    def of(cls, listeners: Listeners, tls: ServerTLS | None) -> ServerAddress:
        """Return where these listen."""
        served = {"tls" if tls else "tcp": listeners.tcp, "udp": listeners.udp}
        host, port = (listeners.tcp or listeners.udp)[0]
        transports = tuple(transport for transport, addresses in served.items() if addresses)
        return cls(host, port, transports, tls.ca_file if tls else None)

    def __str__(self) -> str:
        if not self.transports:
            return "in memory"
        transports = " and ".join(name.upper() for name in self.transports)
        return f"at {self.host} port {self.port} ({transports})"


IN_MEMORY = ServerAddress("memory", 0)


@attrs.frozen(kw_only=True)
class Served:
    """A portal, a proxy or a peer with its configuration.

    Attributes:
        name: as errors call it: ``portal``, ``proxy`` or ``peer``.
        serve: serves it until it is cancelled; see `serve_ports`.
        state: what it is to do, and what has happened.
        tls: what it needs for TLS, if it speaks that.
        start_errors: what ``serve`` raises before it listens.
    """

    name: str
    serve: Callable[..., Awaitable[None]]
    state: ServerState
    tls: ServerTLS | None
    start_errors: tuple[type[Exception], ...] = (CannotBindError,)

    def address(self, listeners: Listeners) -> ServerAddress:
        """Return where clients reach it."""
        return ServerAddress.of(listeners, self.tls)

    def end(self) -> None:
        """Notify those who wait that nothing more will happen, and remove its files."""
        self.state.end()
        self.close_tls()

    def close_tls(self) -> None:
        """Remove the files of its certificates."""
        if self.tls is not None:
            self.tls.close()
