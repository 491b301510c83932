"""The root of a control port: the server that it controls, and those started beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from esps_portal import __version__
from esps_portal.control.controls import ServerControls
from esps_portal.control.endpoint import JSON, TOML, Endpoint, EndpointRequest
from esps_portal.control.http_messages import HttpError, Reply, RequestHead
from esps_portal.control.named_servers import NamedServers, PreparedServer
from esps_portal.control.openapi import openapi
from esps_portal.control.router import FoundEndpoint, Routes, find_endpoint
from esps_portal.journal.values import ValueTable
from esps_portal.mock.server_names import check_names
from esps_portal.product import PRODUCT


@attrs.frozen
class ControlRoot:
    """What a control port controls, by path.

    Attributes:
        main: the server whose endpoints are at the root.
        named: the servers beside it, by the name of the resource: ``proxies``.
    """

    main: ServerControls
    named: Mapping[str, NamedServers]

    def find(self, head: RequestHead) -> FoundEndpoint:
        """Return what a request is for.

        Raises:
            HttpError: there is no such path, or it has no such method.
        """
        first, *rest = head.path[1:].split("/")
        found: FoundEndpoint | None
        if first in self.named and len(rest) > 1:
            controls = self.named[first].find(rest[0]).controls
            found = find_endpoint(controls.routes, controls, rest[1:], head)
        elif first in self.named:
            found = find_endpoint(NAMED_ROUTES, self.named[first], rest, head)
        else:
            found = find_endpoint(OWN_ROUTES, self, [first, *rest], head) or find_endpoint(
                self.main.routes, self.main, [first, *rest], head
            )
        if found is None:
            raise HttpError(404, "there is no such path; GET /openapi.json has all of them")
        return found


def show_version(_: ControlRoot, __: EndpointRequest) -> dict[str, Any]:
    """Return the product and its version."""
    return {"version": __version__, "product": PRODUCT, "protocol": "ESPS/1"}


def show_openapi(root: ControlRoot, _: EndpointRequest) -> dict[str, Any]:
    """Return the description of all endpoints."""
    return openapi(tuple(root.named))


def show_scenario(root: ControlRoot, _: EndpointRequest) -> dict[str, Any]:
    """Return what is placed, as a scenario file has it."""
    named = {kind: servers.values() for kind, servers in root.named.items()}
    return {**root.main.scenario(), **{kind: values for kind, values in named.items() if values}}


async def replace_scenario(root: ControlRoot, request: EndpointRequest) -> dict[str, Any]:
    """Place a scenario in place of what is there; return what is placed then.

    Servers of a kind that it does not name stay as they are, with their ports.
    """
    table = ValueTable.of(request.value, "", None)
    named = {kind: table.values[kind] for kind in root.named if kind in table.values}
    rest = {key: value for key, value in table.values.items() if key not in named}
    prepared = {kind: root.named[kind].prepare(value, kind) for kind, value in named.items()}
    _check_names(root, prepared)
    for fault in await root.main.replace(rest):
        root.main.on_fault(fault)
    for kind, servers in prepared.items():
        await root.named[kind].replace(servers)
    return show_scenario(root, EndpointRequest())


def _check_names(root: ControlRoot, prepared: Mapping[str, Sequence[PreparedServer]]) -> None:
    """Check that no two servers would have one name, also with those that stay."""
    names = {
        f"{kind}[{number}].name": each.name
        for kind, servers in prepared.items()
        for number, each in enumerate(servers)
    }
    stay = [servers.by_name for kind, servers in root.named.items() if kind not in prepared]
    check_names({name: name for running in stay for name in running} | names)


# ---- the servers of a kind: ``/proxies`` and ``/proxies/NAME``


def list_servers(servers: NamedServers, _: EndpointRequest) -> Iterator[dict[str, Any]]:
    """Return the servers of a kind that run."""
    return servers.values_with_addresses()


async def start_server(servers: NamedServers, request: EndpointRequest) -> Reply:
    """Start a server from its values in a scenario."""
    return Reply((await servers.place(request.value)).values_with_address(), 201)


def show_server(servers: NamedServers, request: EndpointRequest) -> dict[str, Any]:
    """Return the server of a name."""
    return servers.find(request.name).values_with_address()


async def end_server(servers: NamedServers, request: EndpointRequest) -> dict[str, Any]:
    """End the server of a name."""
    await servers.end(servers.find(request.name))
    return {}


#: The endpoints of a kind, below its name.
NAMED_ROUTES: Routes = {
    "": {"GET": Endpoint(list_servers), "POST": Endpoint(start_server, needs_body=True)},
    "*": {"GET": Endpoint(show_server), "DELETE": Endpoint(end_server)},
}
#: The endpoints of a control port itself.
OWN_ROUTES: Routes = {
    "version": {"GET": Endpoint(show_version)},
    "openapi.json": {"GET": Endpoint(show_openapi)},
    "scenario": {
        "GET": Endpoint(show_scenario),
        "PUT": Endpoint(replace_scenario, needs_body=True, types=(JSON, TOML)),
    },
}
