"""Bytes that are not a frame of the framing that a proxy was given."""

from __future__ import annotations

import pytest

from esps_portal.exchanges.live_exchange import CLIENT, SERVER
from esps_portal.framings.delimiters import lines
from esps_portal.journal.records import Entry, RecordedUnit
from esps_portal.proxy.state import ProxyState
from tests.proxy.conversations import WHOLE, hold, place, proxy_state
from tests.threaded_proxies import threaded_proxy

REPLY = b"+OK\r\n"


def test_what_the_proxy_has_not_read_to_its_end_is_no_finding() -> None:
    with threaded_proxy(lines()) as proxy:
        fault = proxy.fault("deaf")
        client, server = proxy.connect()
        client.send(b"GET a\r\nGET b")
        assert server.read(7) == b"GET a\r\n"
        server.send(REPLY)
        assert client.read(len(REPLY)) == REPLY
        client.reset()
        proxy.until(lambda: bool(proxy.state.journal.connections[0].closed_by))
        assert fault.happened == 1
        assert proxy.state.leftovers == []


def test_a_drain_within_a_frame_is_no_finding() -> None:
    with threaded_proxy(lines()) as proxy:
        client, server = proxy.connect()
        client.send(b"GET a\r\nGET b")
        assert server.read(12) == b"GET a\r\nGET b"
        proxy.run(proxy.listeners.shut_down)
        assert server.rest() == (b"", "FIN")
        server.close()
        assert client.rest() == (b"", "FIN")
        assert proxy.state.leftovers == []


Said = tuple[str, int, bytes]


def units_of(state: ProxyState) -> list[Said]:
    """Return a list that gets what a recording and a capture have: who, in which exchange, what."""
    found: list[Said] = []

    def note(entry: Entry) -> None:
        if isinstance(entry.subject, RecordedUnit):
            unit = entry.subject
            found.append((unit.sender, unit.exchange.number, unit.data))

    state.exchanges.sinks.append(note)
    return found


TOO_LONG = b"x" * (1 << 20) + b"y"


@pytest.mark.parametrize("sizes", [WHOLE, (7, 1)])
def test_a_recording_has_what_is_no_whole_frame_at_the_end(sizes: tuple[int, ...]) -> None:
    state = proxy_state(lines())
    units = units_of(state)
    turns = [(CLIENT, b"GET a\r\nGET b\r\nGE"), (SERVER, REPLY + b"+O")]
    spoken = hold(state, turns, sizes)
    assert sorted(units) == [
        (CLIENT, 1, b"GET a\r\n"),
        (CLIENT, 2, b"GET b\r\n"),
        (CLIENT, 3, b"GE"),
        (SERVER, 1, REPLY),
        (SERVER, 2, b"+O"),
    ]
    assert [(found.state, found.complete) for found in spoken.exchanges] == [
        ("replied", True),
        ("replied", False),
        ("aborted", False),
    ]
    assert len(state.leftovers) == 2


def test_a_recording_has_all_bytes_of_a_side_that_sends_no_frames() -> None:
    state = proxy_state(lines())
    units = units_of(state)
    size = 100_000
    turns = [(CLIENT, b"GET a\r\n" + TOO_LONG), (SERVER, REPLY), (CLIENT, b"more"), (SERVER, REPLY)]
    hold(state, turns, (size,))
    said = b"".join(data for sender, _, data in units if sender == CLIENT)
    assert said == b"GET a\r\n" + TOO_LONG + b"more"
    assert b"".join(data for sender, _, data in units if sender == SERVER) == 2 * REPLY


def test_a_recording_has_the_part_of_a_frame_before_a_reset() -> None:
    with threaded_proxy(lines()) as proxy:
        units = proxy.run(lambda: units_of(proxy.state))
        client, server = proxy.connect()
        client.send(b"GET a\r\nGE")
        assert server.read(9) == b"GET a\r\nGE"
        client.reset()
        proxy.until(lambda: bool(proxy.state.journal.connections[0].closed_by))
        assert units == [(CLIENT, 1, b"GET a\r\n"), (CLIENT, 2, b"GE")]
        assert proxy.state.leftovers == []


def test_what_is_no_frame_counts_as_no_request() -> None:
    state = proxy_state(lines())
    fault = place(state, "close", request=2)
    hold(state, [(CLIENT, b"GET a\r\nGE"), (SERVER, REPLY)], WHOLE)
    spoken = hold(state, [(CLIENT, b"GET b\r\n"), (SERVER, REPLY)], WHOLE)
    assert fault.happened == 1
    assert spoken.came[CLIENT] == b""
