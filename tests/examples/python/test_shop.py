"""A shop's client on plain sockets, and its tests against a portal."""

from __future__ import annotations

import socket

import pytest

from esps_portal.testing import PortalController


def ask(host: str, port: int, *words: str) -> list[str]:
    """Send one request; return its reply."""
    with socket.create_connection((host, port), timeout=5) as peer, peer.makefile("rw") as lines:
        lines.readline()  # the greeting
        lines.write(f"1 CALL {' '.join(words)}\n")
        lines.flush()
        return lines.readline().split()[1:]


def shop(host: str, port: int) -> float:
    """Ask for a price, then for what is busy at times; return the price."""
    _, price = ask(host, port, "price", "sku-1")
    while ask(host, port, "flaky")[0] == "ERR":
        pass
    return float(price)


def test_price(esps_portal: PortalController) -> None:
    esps_portal.stub("price", "sku-1").reply("9.99")
    esps_portal.stub("flaky").fail("busy").reply("done")  # first, then
    assert shop(esps_portal.host, esps_portal.port) == 9.99
    esps_portal.wait_for("flaky", count=2, timeout=1)
    assert [call.args for call in esps_portal.calls("price")] == [(b"sku-1",)]


def test_reset(esps_portal: PortalController) -> None:
    address = esps_portal.host, esps_portal.port
    with (
        esps_portal.fault("reset", service="echo", when="before"),
        pytest.raises(ConnectionResetError),
    ):
        ask(*address, "echo", "hi")
    with esps_portal.down(), pytest.raises(ConnectionRefusedError):
        ask(*address, "echo", "hi")
    assert ask(*address, "echo", "hi") == ["OK", "hi"]
