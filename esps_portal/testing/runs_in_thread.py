"""What a controller offers in addition where its server has a thread of its own."""

from __future__ import annotations

from esps_portal.testing.controlled_server import ControlledServer
from esps_portal.testing.review import Review
from esps_portal.testing.server_thread import ServerThread
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame


class RunsInThread:
    """A server in a thread of its own, in ``_thread``, with its `ControlledServer`."""

    host: str
    port: int
    _name: str
    _thread: ServerThread
    _server: ControlledServer

    @property
    def where(self) -> str:
        """What it is and where, for a report."""
        return f"{self._name} at {self.host} port {self.port}"

    def stop(self) -> None:
        """End the server at once. Returns once nothing of it is left."""
        self._thread.stop()

    @property
    def is_running(self) -> bool:
        """Whether it was neither stopped nor has died, and is not stuck."""
        return self._thread.is_running

    def release(self) -> Review:
        """Do `review` and `reset` in one step. After that no test can use it.

        A portal that is lent to one test after the other can be used from the next `acquire` on.

        Raises:
            PortalEndedError: it has ended, so that neither is possible.
        """
        return self._server.release(self._thread)
