"""``--metrics HOST:PORT``: the metrics of a served portal, and its health, over HTTP."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import attrs
import click

from esps_portal.cli.errors import exit_with_error
from esps_portal.cli.options import ListenAddress, ListenAddressType, Option
from esps_portal.protocol.urls import host_port

if TYPE_CHECKING:
    import trio

    from esps_portal.metrics.collector import PortalMetrics
    from esps_portal.metrics.pages import Page, Pages
    from esps_portal.mock.scripted import ScriptedPortal
    from esps_portal.net.listeners import Listeners

metrics_option: Option = click.option(
    "--metrics",
    type=ListenAddressType(),
    metavar="[HOST:]PORT",
    help="Serve metrics for Prometheus at /metrics, and /healthz; HOST is loopback by default.",
)


@attrs.frozen
class ServedMetrics:
    """The metrics of a portal, and where they are served.

    Attributes:
        address: where to listen; port 0 takes a free one.
    """

    address: ListenAddress
    _metrics: PortalMetrics

    @classmethod
    def of(cls, portal: ScriptedPortal, address: ListenAddress) -> ServedMetrics:
        """Count what happens to a portal from now on.

        Raises:
            click.exceptions.Exit: a library is missing, which was reported.
        """
        try:
            from esps_portal.metrics.collector import PortalMetrics  # noqa: PLC0415 - it is an extra
        except ModuleNotFoundError as error:
            if error.name != "prometheus_client":
                raise
            exit_with_error(
                "--metrics needs prometheus-client; install it with"
                " pip install 'esps-portal[metrics]'"
            )
        metrics = PortalMetrics(portal.offers)
        portal.script.journal.sinks.append(metrics.write)
        portal.script.faults.on_strike.append(metrics.count_fault)
        return cls(address, metrics)

    async def open(self, nursery: trio.Nursery, listeners: Listeners) -> str:
        """Serve the metrics until the nursery is cancelled; return their URL.

        Args:
            listeners: those of the portal; it is healthy until they shut down.

        Raises:
            CannotBindError: the address cannot be bound.
        """
        from esps_portal.metrics.pages import serve_pages  # noqa: PLC0415 - help must not wait

        pages: Pages = {
            "/metrics": self._metrics_page,
            "/healthz": partial(_health_page, listeners),
        }
        serve = partial(serve_pages, pages, host=self.address.host, port=self.address.port)
        (address, *_) = await nursery.start(serve)
        return f"http://{host_port(*address)}/metrics"

    def _metrics_page(self) -> Page:
        from esps_portal.metrics.collector import CONTENT_TYPE  # noqa: PLC0415 - as above
        from esps_portal.metrics.pages import Page  # noqa: PLC0415 - as above

        return Page(self._metrics.expose(), CONTENT_TYPE)


def _health_page(listeners: Listeners) -> Page:
    """Return 200, or 503 once the portal takes no more connections: a balancer then passes by."""
    from esps_portal.metrics.pages import Page  # noqa: PLC0415 - as above

    return Page(b"closing\n", status=503) if listeners.is_shutting_down else Page(b"ok\n")
