"""What a test does with its server, of any kind: faults, outages, journal, review, reset.

`ServerController` is built on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from esps_portal.exchanges.server_state import ServerState
from esps_portal.faults.fault import Fault
from esps_portal.net.port_outage import OutageKind
from esps_portal.testing.handles import Outage, Outages, PlacedFault
from esps_portal.testing.journal_view import JournalView
from esps_portal.testing.portal_loop import PortalLoop
from esps_portal.testing.review import Review, Reviewer
from esps_portal.testing.server_thread import ServerThread
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame


class ControlledServer:
    """A portal, a proxy or a peer, as its controller acts on it.

    Args:
        loop: where everything is done.
        state: of the server.
        find_problems, report: see `Reviewer`.

    Attributes:
        loop: likewise.
        view: the journal, as a test sees it.
        reviewer: says whether the server was used as expected.
    """

    def __init__(
        self,
        loop: PortalLoop,
        state: ServerState,
        find_problems: Callable[[], list[str]],
        report: Callable[[list[str]], str],
    ) -> None:
        self.loop: PortalLoop = loop
        self._faults = state.faults
        self._outages = Outages(loop)
        self.view: JournalView = JournalView(loop, state.journal)
        self._report = report
        self.reviewer: Reviewer = Reviewer(loop, find_problems, self._report_with_outage)

    def _report_with_outage(self, problems: list[str]) -> str:
        """Return the report; connects that an outage refuses are in no transcript."""
        report = self._report(problems)
        how = self.outage
        return report if how is None else f"{report}\ndown(how={how!r}) is still in force"

    def place(self, fault: Fault) -> PlacedFault:
        """Put a fault in force; return its handle.

        Raises:
            FaultError: it makes no sense there.
        """
        (placed,) = self.place_all([fault])
        return placed

    def place_all(self, faults: Iterable[Fault]) -> list[PlacedFault]:
        """Put faults in force at once, in this order; return their handles.

        Raises:
            FaultError: one makes no sense there. None is in force then.
        """
        faults = list(faults)

        def place() -> None:
            for fault in faults:
                self._faults.where.check(fault)
            for fault in faults:
                self._faults.place(fault)

        self.loop.run(place)
        happened = self.view.short_transcript
        return [PlacedFault(fault, self._faults, self.loop, happened) for fault in faults]

    def heal(self) -> None:
        """End all faults and outages that are in force; see `PlacesFaults.heal`."""
        self.loop.run(self._faults.remove_all)
        self._outages.end_all()

    def down(self, how: OutageKind) -> Outage:
        """Take the server out of service; see `PortalController.down`."""
        return self._outages.add(how)

    @property
    def outage(self) -> OutageKind | None:
        """How the server is down; `None`: it is up."""
        return self._outages.how

    def reset(self) -> None:
        """Forget everything, end old connections and outages."""
        self.loop.reset()
        self._outages.clear()

    def release(self, thread: ServerThread) -> Review:
        """Review and reset the server of a thread in one step; see `ServerThread.release`."""
        review = thread.release(self.reviewer.now)
        self._outages.clear()
        return review
