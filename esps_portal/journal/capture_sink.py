"""Writes what a journal notes into a capture; a journal calls it with each entry."""

from __future__ import annotations

from typing import Literal

from esps_portal.journal.journal import Journal
from esps_portal.journal.pcap import Side
from esps_portal.journal.pcap_file import CaptureFile
from esps_portal.journal.records import Entry, RecordedConnection, RecordedUnit


class CaptureSink:
    """A sink of a journal. Connections that are open already begin with it.

    Example::

        sink = CaptureSink(file, journal, time.time() - trio.current_time())
        journal.sinks.append(sink.write)

    Args:
        file: what is written.
        journal: has the connections; of a proxy of ESPS/1 another journal has the units.
        epoch: when the journal's clock was 0, in seconds since the Unix epoch.
        now: when the capture begins, in seconds on that clock. Connections that are older open
            then: before it a capture that is continued has other packets already.
    """

    def __init__(self, file: CaptureFile, journal: Journal, epoch: float, now: float = 0.0) -> None:
        self._file = file
        self._journal = journal
        self._epoch = epoch
        for connection in journal.connections:
            if connection.closed is None:
                self._opened(connection, max(connection.opened, now - journal.start))

    def write(self, entry: Entry) -> None:
        """Write an entry: a connection that was opened or has ended, bytes, or nothing."""
        subject = entry.subject
        if isinstance(subject, RecordedUnit):
            self._unit(subject, entry.at)
        elif isinstance(subject, RecordedConnection):
            if entry.event == "closed":
                self._closed(subject, entry.at)
            else:
                self._opened(subject, entry.at)

    def _opened(self, connection: RecordedConnection, at: float) -> None:
        self._file.opened(connection.number, connection.remote, self._unix_time(at))

    def _unit(self, unit: RecordedUnit, at: float) -> None:
        exchange, sender = unit.exchange, _side(unit.sender)
        unix_time = self._unix_time(at)
        if exchange.transport == "udp":
            self._file.datagram(exchange.remote, sender, unit.data, unix_time)
        else:
            connection = exchange.connection
            self._file.unit(connection, exchange.remote, sender, unit.data, unix_time)

    def _closed(self, connection: RecordedConnection, at: float) -> None:
        """Write the end: after the FIN of the side that closed first that of the other."""
        first = _side(connection.closed_by)
        how: Literal["fin", "rst"] = "rst" if connection.how == "rst" else "fin"
        others: tuple[Side, ...] = ("client", "server") if how == "fin" else ()
        for side in (first, *others):  # a side that has sent FIN sends no other
            number, remote = connection.number, connection.remote
            self._file.closed(number, remote, side, how, self._unix_time(at))

    def _unix_time(self, at: float) -> float:
        return self._epoch + self._journal.start + at


def _side(who: str) -> Side:
    """Return a side of the capture: what the proxy or a fault does the client sees as server's."""
    return "client" if who == "client" else "server"
