"""The portal that is offered where nobody says otherwise: every bundled service."""

from __future__ import annotations

from esps_portal.protocol.limits import Limits
from esps_portal.services.builtin import instant_services
from esps_portal.services.builtin_async import task_services
from esps_portal.services.builtin_faulty import misbehaving_services
from esps_portal.services.dispatch import Portal

#: The order of the specification's table, in which LIST names them.
ORDER = (
    "echo discard chargen time whoami random delay drip count fail stats"
    " close reset stall truncate garbage"
).split()


def builtin_portal(product: str, limits: Limits | None = None) -> Portal:
    """Return a portal that offers every bundled service."""
    portal = Portal(product=product, limits=limits)
    declared = [
        *instant_services(portal.statistics),
        *task_services(),
        *misbehaving_services(),
    ]
    for service in sorted(declared, key=lambda service: ORDER.index(service.name)):
        portal.add(service)
    return portal
