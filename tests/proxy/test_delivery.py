"""How long an exchange has taken for its client, with what a fault has delayed of the reply."""

from __future__ import annotations

import re
from typing import Any

import pytest

from esps_portal.cli.access_log import access_line
from esps_portal.framings.delimiters import lines
from esps_portal.framings.framing import Framing
from esps_portal.journal.records import RecordedExchange
from tests.patience import PATIENCE
from tests.proxy.struck import REQUEST, UNIT
from tests.threaded_proxies import ThreadedProxy, threaded_proxy

DELAY = 0.1  # seconds


def logged_seconds(proxy: ThreadedProxy) -> float:
    """Return how long the last exchange that has ended took, as the access log has it."""

    def ended() -> list[str]:
        entries = proxy.state.journal.entries()
        found = [entry for entry in entries if isinstance(entry.subject, RecordedExchange)]
        return [access_line(entry, 80) for entry in found if entry.event == "faulted"]

    proxy.until(lambda: bool(ended()))
    found = re.search(r"bytes\) (\d+\.\d) ms", proxy.run(ended)[-1])
    assert found is not None
    return float(found[1]) / 1000


@pytest.mark.parametrize("framing", [None, lines()])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("latency", {"seconds": DELAY}),
        ("coalesce", {"seconds": DELAY}),
        ("slice", {"at": 3, "pause": DELAY}),
        ("bandwidth", {"bytes_per_second": len(UNIT) / DELAY}),
    ],
)
def test_of_a_reply(framing: Framing | None, kind: str, options: dict[str, Any]) -> None:
    with threaded_proxy(framing) as proxy:
        fault = proxy.fault(kind, transport="tcp", **options)
        client, server = proxy.connect()
        client.send(REQUEST)
        assert server.read(len(REQUEST)) == REQUEST
        server.send(UNIT)
        assert client.read(len(UNIT)) == UNIT
        client.close()
        server.close()
        assert DELAY * 0.99 <= logged_seconds(proxy) < DELAY + PATIENCE
        assert fault.happened == 1


@pytest.mark.parametrize(("kind", "key"), [("delay", {}), ("reorder", {"replies": 2})])
def test_of_a_datagram(proxy: ThreadedProxy, kind: str, key: dict[str, int]) -> None:
    fault = proxy.fault(kind, seconds=DELAY, **key)
    client = proxy.client_of_datagrams()
    client.send(REQUEST)
    datagram, source = proxy.datagrams.recvfrom(100)
    assert datagram == REQUEST
    proxy.datagrams.sendto(UNIT, source)
    assert client.recv(100) == UNIT
    assert DELAY * 0.99 <= logged_seconds(proxy) < DELAY + PATIENCE
    assert fault.happened == 1


def test_without_a_delay_nothing_is_noted(proxy: ThreadedProxy) -> None:
    client, server = proxy.connect()
    client.send(REQUEST)
    assert server.read(len(REQUEST)) == REQUEST
    server.send(UNIT)
    assert client.read(len(UNIT)) == UNIT
    (exchange,) = proxy.run(lambda: list(proxy.state.journal.exchanges))
    assert exchange.delivered is None
