"""The default portal: it offers every built-in service."""

from __future__ import annotations

from esps_portal.protocol.limits import Limits
from esps_portal.services.builtin import counting_services, sync_services
from esps_portal.services.builtin_async import async_services
from esps_portal.services.builtin_faulty import faulty_services
from esps_portal.services.dispatch import Portal

#: The order of LIST, which is that of the table in the specification.
ORDER = (
    "echo discard chargen time whoami random delay drip count fail stats"
    " close reset stall truncate garbage"
).split()


def builtin_portal(product: str, limits: Limits | None = None) -> Portal:
    """Return a portal that offers every built-in service.

    Args:
        product: what it calls itself in HELLO, ``name/version``.
        limits: the defaults of `Limits`.
    """
    portal = Portal(product=product, limits=limits)
    services = [
        *sync_services(),
        *counting_services(portal.statistics),
        *async_services(),
        *faulty_services(),
    ]
    for service in sorted(services, key=lambda service: ORDER.index(service.name)):
        portal.add(service)
    return portal
