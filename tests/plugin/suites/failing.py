"""A suite whose every test fails, each by a line of its own that ends in HERE."""

from __future__ import annotations

from typing import Any

import pytest

import esps_portal
from esps_portal import blocking
from esps_portal.mock.matching import ArgsMatcher
from esps_portal.testing import (
    PeerFactory,
    PortalController,
    PortalFactory,
    expect,
    lines,
)


def test_wait_for(esps_portal: PortalController) -> None:
    esps_portal.wait_for("price", timeout=0)  # HERE


def test_wait_for_with_a_wrong_argument(esps_portal: PortalController) -> None:
    esps_portal.wait_for("price", count=0)  # HERE


def test_stub(esps_portal: PortalController) -> None:
    esps_portal.stub("No")  # HERE


def test_reply(esps_portal: PortalController) -> None:
    wrong: Any = 5
    esps_portal.stub("price").reply(wrong)  # HERE


def test_fault(esps_portal: PortalController) -> None:
    unknown: Any = "latncy"
    esps_portal.fault(unknown)  # HERE


def test_verify(esps_portal: PortalController) -> None:
    esps_portal.stub("price")
    esps_portal.verify()  # HERE


def test_load(esps_portal: PortalController) -> None:
    esps_portal.load("x = 1\n")  # HERE


def test_service(esps_portal: PortalController) -> None:
    esps_portal.service(name="No")(str)  # HERE


def test_factory(esps_portal_factory: PortalFactory) -> None:
    wrong: Any = "80"
    esps_portal_factory(port=wrong)  # HERE


def test_factory_that_cannot_listen(esps_portal_factory: PortalFactory) -> None:
    esps_portal_factory(port=1, host="nowhere.invalid")  # HERE


def test_factory_on_a_port_in_use(
    esps_portal: PortalController, esps_portal_factory: PortalFactory
) -> None:
    esps_portal_factory(port=esps_portal.port)  # HERE


def test_connect_to_nobody(esps_portal: PortalController) -> None:
    with esps_portal.down(), blocking.connect(esps_portal.url):  # HERE
        pass


def test_call(esps_portal: PortalController) -> None:
    with blocking.connect(esps_portal.url) as client:
        client.call("fail", "busy")  # HERE


def test_call_that_is_late(esps_portal: PortalController) -> None:
    with blocking.connect(esps_portal.udp_url) as client:
        client.call("delay", "9999", timeout=0.01)  # HERE


def test_call_without_reply(esps_portal: PortalController) -> None:
    with blocking.connect(esps_portal.url) as client:
        client.call("close")  # HERE


def test_stream(esps_portal: PortalController) -> None:
    with blocking.connect(esps_portal.url) as client, client.stream("fail", "busy") as rows:
        list(rows)  # HERE


def test_connect() -> None:
    with blocking.connect("esps+tls://127.0.0.1:1"):  # HERE
        pass


def test_argument_of_a_call(esps_portal: PortalController) -> None:
    wrong: Any = 5
    with blocking.connect(esps_portal.url) as client:
        client.call("echo", wrong)  # HERE


def test_connect_elsewhere() -> None:
    with blocking.connect("http://127.0.0.1"):  # HERE
        pass


def test_down(esps_portal: PortalController) -> None:
    wrong: Any = "maybe"
    esps_portal.down(how=wrong)  # HERE


def test_framing(esps_peer: PeerFactory) -> None:
    wrong: Any = "lines"
    esps_peer(wrong)  # HERE


def test_expect() -> None:
    wrong: Any = 5
    expect(wrong)  # HERE


def test_echo(esps_peer: PeerFactory) -> None:
    wrong: Any = 5
    esps_peer(lines()).stub("x").reply("y", echo=wrong)  # HERE


def test_name_that_is_not_there() -> None:
    esps_portal.conect  # type: ignore[attr-defined] # noqa: B018 # HERE


def test_a_bug_of_ours(esps_portal: PortalController, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(ArgsMatcher, "of")
    esps_portal.stub("price")  # HERE
