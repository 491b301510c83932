"""The interface to the event loop of a test's server, in this thread or in another one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from esps_portal.net.port_outage import OutageKind
from esps_portal.protocol.errors import EspsError

_Result = TypeVar("_Result")


class PortalEndedError(EspsError, RuntimeError):
    """The portal, or the proxy, was used after its end; or it died, and the cause is attached."""

    shows_cause: bool = True  # in the report of a test; see `hide_causes`


class FunctionRunner(Protocol):
    """What runs a function in the portal's loop."""

    def run(self, function: Callable[[], _Result]) -> _Result:
        """Run a function, and return its result."""

    def access(self, function: Callable[[], _Result]) -> _Result:
        """Run a function without trio in it: maybe in this thread, while the loop sleeps."""


class PortalLoop(FunctionRunner, Protocol):
    """The loop of a portal, with its ports."""

    def run_when_quiet(self, function: Callable[[], _Result]) -> _Result:
        """Do what `access` does, once what clients have sent is answered, as far as possible."""

    def reset(self) -> None:
        """Forget everything, and end old connections; see `PortControl.reset`."""

    def down(self, how: OutageKind) -> None:
        """Take the ports out of service, in this way; see `PortControl.down`."""

    def up(self) -> None:
        """Take the ports back into service."""
