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
from esps_portal.inspection.probe import ProbeResult, ProbeTarget
from esps_portal.inspection.report import Report, UnknownHostError, inspect_port
from esps_portal.inspection.sockets import OpenSocket, SocketScan
from esps_portal.inspection.text_report import format_report
from esps_portal.net.bind import is_own_address
from esps_portal.protocol.escape import printable, visible
from tests.inspection.servers import (
    LOOPBACK,
    WILDCARD,
    bound,
    free_port,
    pong,
    portal,
    tcp_server,
    udp_server,
)

LONG = 10.0
SHORT = 0.2
families = pytest.mark.parametrize("family", list(LOOPBACK), ids=lambda f: f.name)


def verdicts(report: Report) -> dict[tuple[str, str], str]:
    return {(result.transport, result.host): result.verdict for result in report.results}


@families
@pytest.mark.parametrize("hosts", [LOOPBACK, WILDCARD], ids=["loopback", "wildcard"])
def test_a_tcp_portal_is_found_and_probed(
    family: socket.AddressFamily, hosts: dict[int, str]
) -> None:
    with tcp_server(portal, family, hosts[family]) as port:
        report = inspect_port(port, timeout=LONG)
    assert report.in_use
    assert [each.host for each in report.scan.sockets if each.pid == os.getpid()] == [hosts[family]]
    assert verdicts(report)["tcp", LOOPBACK[family]] == "esps-1"


@families
def test_a_udp_portal_is_found_and_probed(family: socket.AddressFamily) -> None:
    with udp_server(pong, family, WILDCARD[family]) as port:
        report = inspect_port(port, timeout=LONG)
    assert verdicts(report)["udp", LOOPBACK[family]] == "esps-1"


def test_a_free_port() -> None:
    report = inspect_port(free_port(), timeout=LONG)
    assert not report.in_use
    assert verdicts(report) == {("tcp", "127.0.0.1"): "clear", ("udp", "127.0.0.1"): "clear"}


def test_a_hidden_socket_is_found_by_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporting, "scan", lambda _: SocketScan((), {}, ()))
    with tcp_server(portal) as port:
        report = inspect_port(port, timeout=LONG)
    assert report.in_use
    text = "\n".join(format_report(report))
    assert "is used by a hidden process. It speaks ESPS/1." in text
    assert "Addresses without a visible socket:" in text


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_silence_means_in_use_over_tcp_only(transport: str) -> None:
    result = ProbeResult(transport, "127.0.0.1", 2867, "silent")
    report = Report(2867, None, SocketScan((), {}, ()), (result,), look_up(2867))
    assert report.in_use == (transport == "tcp")


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::ffff:127.0.0.1", "localhost"])
def test_the_sockets_of_a_local_host_are_scanned(host: str) -> None:
    with tcp_server(portal) as port:
        report = inspect_port(port, host, LONG)
    assert os.getpid() in {each.pid for each in report.scan.sockets}
    assert "esps-1" in verdicts(report).values()


def test_another_address_of_this_machine_is_not_included() -> None:
    with bound(socket.SOCK_STREAM, socket.AF_INET6) as (_, port):
        report = inspect_port(port, "127.0.0.1", LONG)
    assert not report.in_use


@pytest.mark.parametrize(
    ("bound_to", "address", "receives"),
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
def test_which_socket_receives_for_an_address(bound_to: str, address: str, receives: bool) -> None:
    listener = OpenSocket("tcp", "IPv4", bound_to, 2867, "LISTEN")
    assert reporting._receives_for(listener, address) == receives  # noqa: SLF001 - a table of addresses


def test_another_machine_is_only_probed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporting, "is_own_address", lambda _: False)
    with tcp_server(portal) as port:
        report = inspect_port(port, "127.0.0.1", LONG)
    assert report.in_use
    assert not report.scan.sockets
    assert report.scan.hidden == ("the sockets of 127.0.0.1: it is another machine",)


def test_a_documentation_address_is_not_ours() -> None:
    assert not is_own_address("192.0.2.1")  # RFC 5737: documentation only


@pytest.mark.parametrize("host", ["256.1.1.1.1", "a" * 70, "no such host", "x.invalid", "\udcff"])
def test_a_host_that_cannot_be_resolved(host: str) -> None:
    with pytest.raises(UnknownHostError, match="cannot resolve"):
        inspect_port(2867, host, SHORT)


# ---- text and JSON -------------------------------------------------------------------------------

WORST = OpenSocket(
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
    ProbeResult("tcp", WORST.host, 65535, "esps-1", product="fake/1.0", seconds=0.0012),
    ProbeResult("tcp", WORST.host, 65535, "something else", message="w" * 50, excerpt="\\x00" * 60),
    ProbeResult("tcp", WORST.host, 65535, "silent", seconds=1.0),
    ProbeResult("udp", WORST.host, 65535, "clear"),
    ProbeResult("udp", WORST.host, 65535, "unreachable", message="Network is unreachable"),
]


def worst(host: str | None = None) -> Report:
    udp = attrs.evolve(WORST, transport="udp", state="UNCONN", pid=None, program=None)
    hidden = attrs.evolve(udp, command=None, user=None, fd=None)
    connected = attrs.evolve(WORST, state="ESTAB", fd=None, program=None)
    seen = SocketScan((WORST, hidden, connected), {"ESTABLISHED": 7}, ("u" * 60 + " " + "v" * 60,))
    return Report(65535, host, seen, tuple(ANSWERS), look_up(2867))


@pytest.mark.parametrize("width", [40, 80, 200])
def test_every_line_fits_and_is_safe_to_print(width: int) -> None:
    unseen = attrs.evolve(worst(), scan=SocketScan((), {}, ()))
    unknown = attrs.evolve(worst(), facts=look_up(1))
    for report in (worst(), worst(host="h\x1b" * 60), unseen, unknown):
        lines = format_report(report, width)
        for line in lines:
            assert len(line) <= width or len(line.split()) == 1
            assert line == "" or line.isprintable()
        words = " ".join(format_report(report, 10_000)).split()
        assert " ".join(lines).split() == words, "no word is broken"


@pytest.mark.parametrize(
    "message",
    [
        "Port 65535 on this machine is used by 1 process and hidden processes. It speaks",
        "answers ESPS/1: fake/1.0 (1.2 ms)",
        "no reply in 1.0 s",
        "nothing is listening",
        "could not be reached; Network is unreachable",
        "process not visible, user not visible",
        "TCP connections with this local port: 7 ESTABLISHED",
        "IANA: esps-portal, TCP and UDP, registrant Nicholas Stowfis",
        "range: registered (1024-49151); root not needed to bind it",
    ],
)
def test_the_text_says(message: str) -> None:
    text = " ".join(" ".join(format_report(worst())).split())
    assert message in text


@pytest.mark.parametrize(
    ("here", "says"),
    [
        (["ss", "lsof", "netstat"], "This machine has ss, lsof, netstat."),
        (["lsof"], "This machine has lsof, not ss, netstat."),
        ([], "This machine has none of them."),
    ],
)
def test_the_tables_are_said_to_be_our_own(
    here: list[str], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: name if name in here else None)
    text = "\n".join(format_report(worst()))
    assert f"inspect made these tables itself.\nThe tools were not run. {says}\n" in text
    assert "\nAs ss -lntup 'sport = :65535':\n" in text
    assert "\nAs lsof -nP -i :65535, which lists connections too:\n" in text
    assert worst().as_json()["tools"] == {name: name in here for name in ("ss", "lsof", "netstat")}


def test_json_has_every_key() -> None:
    report = json.loads(json.dumps(worst().as_json()))
    assert list(report) == [
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
    assert report["holders"][0]["command"][2] == "x" * 5000
    assert report["answers"][0]["product"] == "fake/1.0"
    assert report["answers"][0]["tls"] is False
    assert report["facts"]["iana"]["registrant"] == "Nicholas Stowfis"
    assert report["rows"]["lsof"][0]["PID"] == "4194304"
    assert report["rows"]["lsof"][0]["COMMAND"] == "a-very-lo"
    assert report["rows"]["netstat"][1]["PID/Program name"] == "-"


def test_the_docstring_names_every_key() -> None:
    documented = Report.as_json.__doc__ or ""
    report = worst().as_json()
    for part in (
        report,
        report["holders"][0],
        report["answers"][0],
        report["facts"],
        report["rows"],
    ):
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


def test_each_address_is_probed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    probed: list[ProbeTarget] = []

    def probe_all(targets: list[ProbeTarget], _timeout: float) -> list[ProbeResult]:
        probed.extend(targets)
        return []

    monkeypatch.setattr(reporting, "scan", lambda _: SocketScan((WORST, WORST), {}, ()))
    monkeypatch.setattr(probe, "probe_all", probe_all)
    inspect_port(65535)
    assert [(t.transport, t.host) for t in probed] == [("tcp", WORST.host), ("udp", "127.0.0.1")]
