"""The servers of a kind as resources: ``/proxies`` and ``/proxies/NAME``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from esps_portal.control.endpoint import Asked, Endpoint
from esps_portal.control.http_messages import Reply
from esps_portal.control.named_servers import NamedServers
from esps_portal.control.router import Routes


def list_servers(servers: NamedServers, _: Asked) -> Iterator[dict[str, Any]]:
    """Return those that run."""
    return servers.shown()


async def start_server(servers: NamedServers, asked: Asked) -> Reply:
    """Start one."""
    return Reply((await servers.place(asked.value)).shown(), 201)


def show_server(servers: NamedServers, asked: Asked) -> dict[str, Any]:
    """Return one."""
    return servers.find(asked.name).shown()


async def end_server(servers: NamedServers, asked: Asked) -> dict[str, Any]:
    """End one."""
    await servers.end(servers.find(asked.name))
    return {}


#: The endpoints of a kind, below its name.
NAMED_ROUTES: Routes = {
    "": {"GET": Endpoint(list_servers), "POST": Endpoint(start_server, needs_body=True)},
    "*": {"GET": Endpoint(show_server), "DELETE": Endpoint(end_server)},
}
