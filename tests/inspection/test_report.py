from __future__ import annotations

import json
import os
import shutil
import socket

import attrs
import pytest

from esps_portal.inspection import probe
from esps_portal.inspection import report as reporting
from esps_portal.inspection.facts import look_up
from esps_portal.inspection.holders import Holder, SocketScan
from esps_portal.inspection.probe import Answer, Target
from esps_portal.inspection.report import Report, UnknownHostError, inspect_port
from esps_portal.inspection.text_report import prose
from esps_portal.net.bind import is_own_address
from esps_portal.protocol.escape import printable, visible
from tests.inspection.strangers import (
    LOOPBACK,
    WILDCARD,
    bound,
    free_port,
    pong,
    portal,
    tcp_stranger,
    udp_stranger,
)

LONG = 10.0
SHORT = 0.2
families = pytest.mark.parametrize("family", list(LOOPBACK), ids=lambda f: f.name)


def verdicts(report: Report) -> dict[tuple[str, str], str]:
    return {(answer.transport, answer.host): answer.verdict for answer in report.answers}


@families
@pytest.mark.parametrize("hosts", [LOOPBACK, WILDCARD], ids=["loopback", "wildcard"])
def test_a_tcp_portal_is_found_and_asked(
    family: socket.AddressFamily, hosts: dict[int, str]
) -> None:
    with tcp_stranger(portal, family, hosts[family]) as port:
        report = inspect_port(port, timeout=LONG)
    assert report.held
    assert [h.host for h in report.sight.holders if h.pid == os.getpid()] == [hosts[family]]
    assert verdicts(report)["tcp", LOOPBACK[family]] == "esps-1"


@families
def test_a_udp_portal_is_found_and_asked(family: socket.AddressFamily) -> None:
    with udp_stranger(pong, family, WILDCARD[family]) as port:
        report = inspect_port(port, timeout=LONG)
    assert verdicts(report)["udp", LOOPBACK[family]] == "esps-1"


def test_a_free_port() -> None:
    report = inspect_port(free_port(), timeout=LONG)
    assert not report.held
    assert verdicts(report) == {("tcp", "127.0.0.1"): "clear", ("udp", "127.0.0.1"): "clear"}


def test_what_is_out_of_sight_is_proved_by_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporting, "scan", lambda _: SocketScan((), {}, ()))
    with tcp_stranger(portal) as port:
        report = inspect_port(port, timeout=LONG)
    assert report.held
    text = "\n".join(prose(report))
    assert "is held by what answers there. It speaks ESPS/1." in text
    assert "Asked, without a socket in sight:" in text


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_silence_proves_a_holder_over_tcp_alone(transport: str) -> None:
    answer = Answer(transport, "127.0.0.1", 2867, "silent")
    report = Report(2867, None, SocketScan((), {}, ()), (answer,), look_up(2867))
    assert report.held == (transport == "tcp")


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::ffff:127.0.0.1", "localhost"])
def test_a_host_of_this_machine_is_looked_at(host: str) -> None:
    with tcp_stranger(portal) as port:
        report = inspect_port(port, host, LONG)
    assert os.getpid() in {holder.pid for holder in report.sight.holders}
    assert "esps-1" in verdicts(report).values()


def test_another_address_of_this_machine_is_another_matter() -> None:
    with bound(socket.SOCK_STREAM, socket.AF_INET6) as (_, port):
        report = inspect_port(port, "127.0.0.1", LONG)
    assert not report.held


@pytest.mark.parametrize(
    ("held", "asked", "covers"),
    [
        ("0.0.0.0", "127.0.0.1", True),
        ("0.0.0.0", "::1", False),
        ("::", "127.0.0.1", True),
        ("::", "::1", True),
        ("::1", "0:0::1", True),
        ("fe80::1%eth0", "fe80::1", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("odd", "odd", True),
    ],
)
def test_which_holder_covers_an_address(held: str, asked: str, covers: bool) -> None:
    holder = Holder("tcp", "IPv4", held, 2867, "LISTEN")
    assert reporting._covers(holder, asked) == covers  # noqa: SLF001 - a table of addresses


def test_of_another_machine_only_the_answers_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporting, "is_own_address", lambda _: False)
    with tcp_stranger(portal) as port:
        report = inspect_port(port, "127.0.0.1", LONG)
    assert report.held
    assert not report.sight.holders
    assert report.sight.unseen == ("what runs on 127.0.0.1: it is not this machine",)


def test_an_address_of_nobody_is_not_ours() -> None:
    assert not is_own_address("192.0.2.1")  # RFC 5737: documentation alone


@pytest.mark.parametrize("host", ["256.1.1.1.1", "a" * 70, "no such host", "x.invalid", "\udcff"])
def test_a_host_without_an_address(host: str) -> None:
    with pytest.raises(UnknownHostError, match="has no address"):
        inspect_port(2867, host, SHORT)


# ---- how it is said ------------------------------------------------------------------------------

WORST = Holder(
    transport="tcp",
    family="IPv6",
    host="fe80:1111:2222:3333:4444:5555:6666:7777",
    port=65535,
    state="LISTEN",
    pid=4194304,
    fd=1023,
    program="a-very-long-name-of-a-program\x1b[2J",
    command=("/usr/bin/java", "-cp", "x" * 5000, "a b", "\udcff\n"),
    user="somebody-with-a-long-name@a-domain.example",
)
ANSWERS = [
    Answer("tcp", WORST.host, 65535, "esps-1", product="fake/1.0", seconds=0.0012),
    Answer("tcp", WORST.host, 65535, "something else", message="w" * 50, excerpt="\\x00" * 60),
    Answer("tcp", WORST.host, 65535, "silent", seconds=1.0),
    Answer("udp", WORST.host, 65535, "clear"),
    Answer("udp", WORST.host, 65535, "unreachable", message="Network is unreachable"),
]


def worst(host: str | None = None) -> Report:
    udp = attrs.evolve(WORST, transport="udp", state="UNCONN", pid=None, program=None)
    blind = attrs.evolve(udp, command=None, user=None, fd=None)
    connected = attrs.evolve(WORST, state="ESTAB", fd=None, program=None)
    sight = SocketScan((WORST, blind, connected), {"ESTABLISHED": 7}, ("u" * 60 + " " + "v" * 60,))
    return Report(65535, host, sight, tuple(ANSWERS), look_up(2867))


def test_every_line_fits_and_is_safe_to_print() -> None:
    blind = attrs.evolve(worst(), sight=SocketScan((), {}, ()))
    for report in (worst(), worst(host="h\x1b" * 60), blind):
        for line in prose(report):
            assert len(line) <= 80
            assert line == "" or line.isprintable()


@pytest.mark.parametrize(
    "message",
    [
        "Port 65535 on this machine is held by 1 process and what could not be seen. It speaks",
        "answers ESPS/1: fake/1.0 (1.2 ms)",
        "says nothing in 1.0 s",
        "nothing listens",
        "could not be asked; Network is unreachable",
        "a process that could not be seen, a user that could not be seen",
        "TCP connections with this local port: 7 ESTABLISHED",
        "IANA: esps-portal, TCP and UDP, registrant Nicholas Stowfis",
        "range: registered (1024-49151); root not needed to bind it",
    ],
)
def test_what_is_said(message: str) -> None:
    said = " ".join(" ".join(prose(worst())).split())
    assert message in said


@pytest.mark.parametrize(
    ("here", "says"),
    [
        (["ss", "lsof", "netstat"], "This machine has ss, lsof, netstat."),
        (["lsof"], "This machine has lsof, not ss, netstat."),
        ([], "This machine has none of them."),
    ],
)
def test_the_rows_are_said_to_be_our_own(
    here: list[str], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: name if name in here else None)
    said = "\n".join(prose(worst()))
    assert f"these are inspect's own findings.\nThe tools were not run. {says}\n" in said
    assert "\nIn the form of ss -lntup 'sport = :65535':\n" in said
    assert worst().as_json()["tools"] == {name: name in here for name in ("ss", "lsof", "netstat")}


def test_json_says_everything() -> None:
    told = json.loads(json.dumps(worst().as_json()))
    assert list(told) == [
        "port",
        "host",
        "held",
        "holders",
        "connections",
        "unseen",
        "answers",
        "facts",
        "rows",
        "tools",
    ]
    assert told["holders"][0]["command"][2] == "x" * 5000
    assert told["answers"][0]["product"] == "fake/1.0"
    assert told["facts"]["iana"]["registrant"] == "Nicholas Stowfis"
    assert told["rows"]["lsof"][0]["PID"] == "4194304"
    assert told["rows"]["lsof"][0]["COMMAND"] == "a-very-lo"
    assert told["rows"]["netstat"][1]["PID/Program name"] == "-"


def test_the_docstring_names_every_key() -> None:
    documented = Report.as_json.__doc__ or ""
    told = worst().as_json()
    for part in (told, told["holders"][0], told["answers"][0], told["facts"], told["rows"]):
        assert [key for key in part if key not in documented] == []


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"plain text", "plain text"),
        (b"\t\r\n", r"\t\r\n"),
        (b"\x1b[31m\x7f\x80", r"\x1b[31m\x7f\x80"),
        (b"\\n", r"\\n"),
        (b"x" * 60, "x" * 60),
        (b"x" * 61, "x" * 60 + "..."),
    ],
)
def test_an_excerpt_is_visible_ascii(data: bytes, shown: str) -> None:
    assert printable(data) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [("é x", "é x"), ("\x1b]0;\x07", r"\x1b]0;\x07"), ("\udcff\u202e", r"\udcff\u202e")],
)
def test_visible_text_moves_no_cursor(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_each_address_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Target] = []

    def ask_all(targets: list[Target], _timeout: float) -> list[Answer]:
        asked.extend(targets)
        return []

    monkeypatch.setattr(reporting, "scan", lambda _: SocketScan((WORST, WORST), {}, ()))
    monkeypatch.setattr(probe, "ask_all", ask_all)
    inspect_port(65535)
    assert [(t.transport, t.host) for t in asked] == [("tcp", WORST.host), ("udp", "127.0.0.1")]
