"""A peer from a scenario, and a running peer as one."""

from __future__ import annotations

from pathlib import Path

import pytest

from esps_portal.testing import ScenarioError, lines
from tests.mock.scenarios import PEERS
from tests.peer.conftest import Peers
from tests.threaded_proxies import RST


def test_a_peer_of_a_scenario(peers: Peers, tmp_path: Path) -> None:
    file = tmp_path / "mail.toml"
    file.write_text(PEERS, encoding="utf-8")
    for scenario in (PEERS, file, str(file)):
        peer = peers.start(None, scenario=scenario, name="mail")
        client = peers.dial(peer)
        client.send(b"EHLO x\r\n")
        assert client.read(19) == b"220 ready\r\n250 ok\r\n"
        client.send(b"RCPT\r\n")
        assert client.rest() == (b"45", RST)
        assert [text.splitlines()[0] for text in peer.problems()] == [
            "unused stub: 'RCPT': used 1 of 5 times",
            "unused stub: '': never used",
        ]


def test_both_transports_of_a_scenario(peers: Peers) -> None:
    peer = peers.start(None, scenario=PEERS, name="dns")
    client = peers.datagrams(peer)
    client.send(b"12 example")
    assert client.recv(100) == b"12\x81\x80"


def test_a_running_peer_is_dumped_and_loaded(peers: Peers) -> None:
    first = peers.start(None, scenario=PEERS, name="mail")
    again = peers.start(None, scenario=first.dump("mail"))
    assert again.dump("mail") == first.dump("mail")
    assert PEERS.startswith(first.dump("mail"))
    empty = peers.start(lines("\r\n"), greeting="220 ready")
    empty.load(PEERS, "mail")
    assert empty.dump("mail") == first.dump("mail")


@pytest.mark.parametrize(
    ("scenario", "name", "message"),
    [
        (PEERS, None, "^peers: there are several: give the name mail or dns or udp"),
        (PEERS, "web", "^peers: there is no 'web', but mail, dns, udp"),
        ("", None, "^peers: there are none in the file"),
        ("x = 1\n", None, "^x: unknown key"),
    ],
)
def test_no_such_peer(peers: Peers, scenario: str, name: str | None, message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        peers.start(None, scenario=scenario, name=name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mail", r"^peers\[0\]\.greeting: a peer gets its greeting when it starts"),
        ("dns", r"^peers\[1\]\.framing: a peer gets its framing when it starts"),
    ],
)
def test_what_cannot_be_loaded(peers: Peers, name: str, message: str) -> None:
    peer = peers.start(lines("\r\n"))
    with pytest.raises(ScenarioError, match=message):
        peer.load(PEERS, name)


def test_a_predicate_cannot_be_dumped(peers: Peers) -> None:
    peer = peers.start(lines())
    peer.stub(bool)
    with pytest.raises(ScenarioError, match=r"^peers\[0\]\.stubs\[0\]\.match: <bool>"):
        peer.dump()
