"""Writes what a journal records into a capture as it happens, so the packets are in time order."""

from __future__ import annotations

from typing import Literal

from esps_portal.journal.journal import Journal
from esps_portal.journal.pcap import Side
from esps_portal.journal.pcap_file import CaptureFile
from esps_portal.journal.records import Entry, RecordedConnection, RecordedExchange


class CaptureSink:
    """Writes into a capture from `attach` to `detach`. Connections that are open begin with it.

    Example::

        sink = CaptureSink(file, journal, time.time() - trio.current_time())
        sink.attach(journal)

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
        self._begun = now
        self._attached: tuple[Journal, ...] = ()

    def attach(self, *journals: Journal) -> None:
        """Write what these journals note from now on."""
        self._attached = journals
        for connection in self._journal.connections:
            if connection.closed is None:
                since = max(connection.opened, self._begun - self._journal.start)
                self._opened(connection, since)
        for journal in journals:
            journal.sinks.append(self._note)
            journal.data_sinks.append(self._write_data)

    def detach(self) -> None:
        """Write no more."""
        for journal in self._attached:
            journal.remove_sink(self._note)
            journal.data_sinks.remove(self._write_data)

    def _note(self, entry: Entry) -> None:
        subject = entry.subject
        if isinstance(subject, RecordedConnection):
            if entry.event == "closed":
                self._closed(subject, entry.at)
            else:
                self._opened(subject, entry.at)

    def _write_data(self, exchange: RecordedExchange, sender: str, data: bytes, at: float) -> None:
        side, unix_time = _side(sender), self._unix_time(at)
        if exchange.transport == "udp":
            self._file.datagram(exchange.remote, side, data, unix_time)
        else:
            self._file.unit(exchange.connection, exchange.remote, side, data, unix_time)

    def _opened(self, connection: RecordedConnection, at: float) -> None:
        self._file.opened(connection.number, connection.remote, self._unix_time(at))

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
