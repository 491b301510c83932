"""Serving the control port: ``await nursery.start(serve_control, config, root)``."""

from __future__ import annotations

import attrs
import trio

from esps_portal.control.guard import Guard
from esps_portal.control.http_handler import HEAD, HttpHandler
from esps_portal.control.room import Room
from esps_portal.control.root import ControlRoot
from esps_portal.net.accept_policy import AcceptPolicy
from esps_portal.net.addresses import is_loopback
from esps_portal.net.bind import bind
from esps_portal.net.connection_server import ConnectionServer
from esps_portal.net.descriptors import soft_limit
from esps_portal.net.stream import Stream
from esps_portal.net.turns import ConnectionTurns

# Connections that are served at a time: test suites run in parallel; and a part of the descriptors
# that the process may have, so that the server that is controlled is never without.
_MAX_CONNECTIONS = 128
_SHARE_OF_DESCRIPTORS = 8
# Including those that wait for room, and those that have had their last reply, or were closed for
# others, but have not ended yet.
_MAX_KNOWN = 512


@attrs.frozen(kw_only=True)
class ControlConfig:
    """Where the control port listens, and who may use it.

    Attributes:
        host: a name or an address; loopback by default.
        port: 0 takes a free one.
        allowed_hosts: what a client may call it besides, with a port or without.
        token: what a client has to show; ``None``: nothing, which only loopback allows.

    Raises:
        ValueError: it would listen beyond loopback without a token.
    """

    host: str = "127.0.0.1"
    port: int = 0
    allowed_hosts: tuple[str, ...] = ()
    token: str | None = attrs.field(default=None, repr=False)

    def __attrs_post_init__(self) -> None:
        if self.token is None and not is_loopback(self.host):
            raise ValueError(
                f"{self.host} is beyond loopback: the control port needs a token there"
            )


async def serve_control(
    config: ControlConfig,
    root: ControlRoot,
    *,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the control port until cancelled. Reports its URL once it listens.

    Args:
        root: what is controlled.

    Raises:
        CannotBindError: the port cannot be bound; raised before anything is served.
    """
    sockets = bind((config.host,), config.port, udp=False)
    addresses = sockets.tcp_addresses
    guard = Guard.of(addresses, config.allowed_hosts, config.token)
    room, turns = Room(max_connections()), ConnectionTurns()
    policy = AcceptPolicy(max_connections=_MAX_KNOWN, watch_interval=HEAD)
    async with trio.open_nursery() as nursery:

        def handler(stream: Stream, _: tuple[str, int]) -> HttpHandler:
            return HttpHandler(stream, guard, root, room, turns)

        server = ConnectionServer(handler, policy, nursery, room=room, opening=turns.opening)
        nursery.start_soon(server.watch)
        for listener in sockets.tcp:
            nursery.start_soon(server.acceptor.accept, listener)
        task_status.started(url_of(addresses[0]))


def max_connections() -> int:
    """Return how many connections the control port may have in this process."""
    descriptors = soft_limit()
    if descriptors is None:
        return _MAX_CONNECTIONS
    return max(2, min(_MAX_CONNECTIONS, descriptors // _SHARE_OF_DESCRIPTORS))


def url_of(address: tuple[str, int]) -> str:
    """Return the URL of a control port."""
    host, port = address
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
