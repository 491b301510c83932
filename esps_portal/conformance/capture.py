"""A capture of what went over the wire, for Wireshark."""

from __future__ import annotations

from collections.abc import Iterable

from esps_portal.conformance.outcome import Outcome
from esps_portal.conformance.traffic import Event, Traffic
from esps_portal.journal.pcap import Capture


def capture_of(outcomes: Iterable[Outcome]) -> bytes:
    """Return the bytes of a file with all packets of some runs, in the order of time."""
    captures: dict[tuple[str, int], Capture] = {}
    numbered = [
        (number, outcome.traffic, event)
        for number, outcome in enumerate(outcomes)
        if outcome.traffic is not None
        for event in outcome.traffic.events
    ]
    numbered.sort(key=lambda entry: entry[2].at)
    found = [Capture(("127.0.0.1", 0)).header()]
    for number, traffic, event in numbered:
        capture = captures.setdefault(traffic.server, Capture(traffic.server))
        found.append(_packets(capture, number, traffic, event))
    return b"".join(found)


def _packets(capture: Capture, number: int, traffic: Traffic, event: Event) -> bytes:
    if traffic.transport == "udp":
        return capture.datagram(event.local, event.by, event.data, event.at)
    match event.what:
        case "opened":
            return capture.opened(number, event.local, event.at)
        case "data":
            return capture.unit(number, event.local, event.by, event.data, event.at)
        case "fin" | "rst":
            return capture.closed(number, event.local, event.by, event.what, event.at)
