"""What may be said of a portal for tests where it is made."""

from __future__ import annotations

from typing import TypedDict

from esps_portal.portal.offer import bundled_portal
from esps_portal.portal.scripted import ScriptedPortal
from esps_portal.protocol.limits import Limits
from esps_portal.server.product import PRODUCT
from esps_portal.server.serving import ServerConfig


class PortalOptions(TypedDict, total=False):
    """All of it has a default."""

    #: A name or an address; by default 127.0.0.1. ``::1`` is IPv6.
    host: str
    #: By default 0, a free one.
    port: int
    #: By default those of `Limits`.
    limits: Limits
    #: By default both true.
    tcp: bool
    udp: bool


def scripted_portal(options: PortalOptions) -> ScriptedPortal:
    """Return a portal with every bundled service, that stubs come before."""
    limits = options.get("limits", Limits())
    return ScriptedPortal(bundled_portal(PRODUCT, limits))


def server_config(portal: ScriptedPortal, options: PortalOptions) -> ServerConfig:
    """Return where it is to be served; its ports may be taken out of service.

    Raises:
        TypeError: an option is unknown.
    """
    unknown = options.keys() - PortalOptions.__annotations__.keys()
    if unknown:
        raise TypeError(
            f"a portal takes no {', '.join(sorted(unknown))}; its options:"
            f" {', '.join(PortalOptions.__annotations__)}"
        )
    return ServerConfig(
        portal=portal,
        hosts=(options.get("host", "127.0.0.1"),),
        port=options.get("port", 0),
        tcp=options.get("tcp", True),
        udp=options.get("udp", True),
        hold=True,
    )
