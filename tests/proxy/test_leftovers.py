"""Bytes that are no frame of the framing that a proxy was given."""

from __future__ import annotations

from esps_portal.framings.delimiters import lines
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
