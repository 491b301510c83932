"""The options of a portal for tests."""

from __future__ import annotations

import ssl
from functools import partial
from typing import TYPE_CHECKING, Protocol, Unpack

from esps_portal.faults.place import PORTAL_WITH_CERTIFICATES
from esps_portal.mock.scripted import ScriptedPortal
from esps_portal.net.authority import Authority
from esps_portal.net.tls_server import ServerTLS
from esps_portal.product import PRODUCT
from esps_portal.protocol.limits import Limits
from esps_portal.server.portal_tls import own_portal_tls, portal_tls, tls_of_authority
from esps_portal.server.serving import ServerConfig, serve
from esps_portal.services.builtin_portal import builtin_portal
from esps_portal.testing.served import Served
from esps_portal.testing.server_options import (
    SERVER_TYPES,
    TLS_TYPE,
    OptionType,
    ServerOptions,
    check_types,
    host_of,
    server_tls,
)
from esps_portal.tracebacks import hides_frame

if TYPE_CHECKING:
    from esps_portal.testing.portal_controller import PortalController

__tracebackhide__ = hides_frame

# The type of each option, and how an error describes it.
_TYPES: dict[str, OptionType] = {
    **SERVER_TYPES,
    "tcp": (bool, "True or False"),
    "udp": (bool, "True or False"),
    "tls": TLS_TYPE,
}


class PortalOptions(ServerOptions, total=False):
    """Options of a portal for tests; each has a default."""

    #: By default those of `Limits`.
    limits: Limits
    #: By default true.
    tcp: bool
    #: By default true, except beside TLS: UDP is plain in any case.
    udp: bool
    #: By default false: TCP is plain. True: TLS, with a certificate of a CA of the portal's own,
    #: whose file is `PortalController.tls_ca`; that needs the extra ``tls``. A context of your own,
    #: with ``load_cert_chain``, for another certificate.
    tls: bool | ssl.SSLContext


class PortalFactory(Protocol):
    """The type of the fixture `esps_portal_factory`."""

    def __call__(
        self, *, strict: bool | None = None, **options: Unpack[PortalOptions]
    ) -> PortalController:
        """Start a portal in a thread of its own; it ends with the test.

        Args:
            strict: overrides the marker and the configuration.
            options: see `PortalOptions`.

        Raises:
            CannotBindError: an address cannot be bound.
            MissingExtraError: ``tls`` is true, and trustme is not installed.
            TypeError: an option is unknown, or not what it must be.
        """


def check_options(options: PortalOptions, also: str = "") -> None:
    """Check the names and types of options.

    Args:
        also: a further option, for the message: the caller handles it itself.

    Raises:
        TypeError: an option is unknown, or not what it must be.
    """
    check_types(options, _TYPES, also)


def scripted_portal(options: PortalOptions) -> ScriptedPortal:
    """Return a portal with every built-in service; stubs take precedence over them.

    Raises:
        TypeError: an option is unknown, or not what it must be.
    """
    check_options(options)
    limits = options.get("limits", Limits())
    portal = ScriptedPortal(builtin_portal(PRODUCT, limits))
    if options.get("tls") is True:
        portal.script.faults.where = PORTAL_WITH_CERTIFICATES
    return portal


def server_config(
    portal: ScriptedPortal, options: PortalOptions, authority: Authority | None = None
) -> ServerConfig:
    """Return how a portal is served: on reserved ports, which may be taken out of service.

    Args:
        authority: a CA that outlives the portal; `None`: with TLS it has one of its own.

    Raises:
        MissingExtraError: it is to have TLS, and trustme is not installed.
    """
    host, option = host_of(options), options.get("tls", False)
    if authority is not None:
        tls: ServerTLS | None = tls_of_authority(authority)
    else:
        tls = server_tls(option, portal_tls, lambda: own_portal_tls([host]))
    return ServerConfig(
        portal=portal,
        hosts=(host,),
        port=options.get("port", 0),
        tcp=options.get("tcp", True),
        udp=options.get("udp", tls is None),
        reserve_port=True,
        tls=tls,
    )


def served_portal(portal: ScriptedPortal, config: ServerConfig) -> Served:
    """Return a portal with its configuration, as a test has it served."""
    return Served(name="portal", serve=partial(serve, config), state=portal, tls=config.tls)
