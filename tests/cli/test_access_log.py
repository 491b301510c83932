"""The access log: a line for each request, escaped and limited, that never blocks the portal."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys

import pytest
import trio

from esps_portal import blocking
from esps_portal.cli.access_log import AccessLog, access_line
from esps_portal.cli.log_format import TextLog
from esps_portal.cli.reports import ErrorLog, Reports
from esps_portal.journal.journal import Journal
from esps_portal.journal.records import ABORTED, FAULTED, REPLAYED, REPLIED, Entry
from esps_portal.protocol.errors import ClosedError, ReplyError
from esps_portal.protocol.messages import readable_request
from esps_portal.testing.threaded_portal import ThreadedPortal
from tests.cli.peers import send_pings
from tests.commands import COMMAND
from tests.processes import RunningServer, running_server
from tests.sockets import ask_once

TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"


# ---- a line ------------------------------------------------------------------------------------


def line_of(
    data: bytes, state: str, sent: bytes, fault: str = "", remote: str = "127.0.0.1"
) -> str:
    journal = Journal()
    lines: list[str] = []
    journal.sinks.append(lambda entry: lines.append(access_line(entry, 60)))
    call = journal.received("udp", (remote, 5), None, data, readable_request(data), 1.0)
    call.fault = fault
    journal.ended(call, state, sent, 1.0123)
    first, last = lines
    assert not first, "the line is written at the end"
    return last


@pytest.mark.parametrize(
    ("number", "said", "fault", "says"),
    [
        (1, [b"PING\r\n", b"+PONG\r\n"], "", r'"PING\r\n" -> 7 bytes 500.0 ms'),
        (1, [b"\x1b[2J", b"", b"x"], "", r'"\x1b[2J" -> 1 bytes 1000.0 ms'),
        (1, [b"GET " + b"k" * 99], "", '"GET ' + "k" * 53 + '..." -> no reply 5000.0 ms'),
        (0, [b"", b"220 ready"], "", "(greeting) -> 9 bytes 500.0 ms"),
        (
            1,
            [b"INCR", b":1"],
            "reset offset=1",
            '"INCR" -> faulted (2 bytes) 500.0 ms; fault: reset offset=1',
        ),
    ],
)
def test_an_exchange(number: int, said: list[bytes], fault: str, says: str) -> None:
    """The first thing is said by the client, the others by the server, half a second later each."""
    journal = Journal()
    lines: list[str] = []
    journal.sinks.append(lambda entry: lines.append(access_line(entry, 60)))
    remote = ("127.0.0.1", 5)
    exchange = journal.began("tcp", remote, journal.opened(remote, 0), number, 1.0)
    for count, data in enumerate(said):
        if data:
            journal.sent(exchange, "server" if count else "client", data, 1.0 + count / 2)
    exchange.fault = fault
    journal.exchange_ended(exchange, 6.0, complete=True)
    assert list(filter(None, lines)) == [f"127.0.0.1:5 tcp {says}"]


@pytest.mark.parametrize(
    ("data", "state", "sent", "says"),
    [
        (b"a CALL echo hi", REPLIED, b"a OK hi\n", "CALL echo hi -> OK"),
        (b"a CALL echo hi\r", REPLIED, b"a OK hi\n", "CALL echo hi -> OK"),
        (b"a PING ######", REPLIED, b"a OK\n", "PING -> OK"),
        (b"a CALL drip", REPLIED, b"a DATA 1\na OK ERR x\n", "CALL drip -> OK"),
        (b"a CALL x", REPLIED, b"a ERR busy try again\n", "CALL x -> ERR busy"),
        (b"GET / HTTP/1.1\r", REPLIED, b"* ERR bad-line\n", r'"GET / HTTP/1.1\r" -> ERR bad-line'),
        (b"a CALL x", ABORTED, b"a ERR cancelled\n", "CALL x -> ERR cancelled"),
        (b"a CALL x", ABORTED, b"a DATA 1\n", "CALL x -> aborted"),
        (b"a CALL x", ABORTED, b"", "CALL x -> no reply"),
        (b"a CALL x", REPLAYED, b"a OK 1\n", "CALL x -> OK (again)"),
        (b"a CALL x", REPLAYED, b"a ERR busy\n", "CALL x -> ERR busy (again)"),
        (b"a CALL x", REPLAYED, b"", "CALL x -> no reply (it still runs)"),
        (b"", ABORTED, b"", '"" -> no reply'),
    ],
)  # fmt: skip
def test_a_line(data: bytes, state: str, sent: bytes, says: str) -> None:
    assert line_of(data, state, sent) == f"127.0.0.1:5 udp {says} 12.3 ms"


def test_a_line_names_the_fault() -> None:
    line = line_of(b"a CALL x", FAULTED, b"", "reset service=x")
    assert line == "127.0.0.1:5 udp CALL x -> faulted 12.3 ms; fault: reset service=x"
    line = line_of(b"a CALL x", FAULTED, b"a OK\n", "latency seconds=1.0", "::1")
    assert line == "[::1]:5 udp CALL x -> faulted (OK) 12.3 ms; fault: latency seconds=1.0"


def test_a_fault_that_did_not_strike_is_not_named() -> None:
    line = line_of(b"a CALL x", ABORTED, b"", "reset service=x")
    assert line == "127.0.0.1:5 udp CALL x -> no reply 12.3 ms"


@pytest.mark.parametrize(
    "data",
    [
        b"a CALL echo " + b"x" * 8000,
        b"\x1b[2J\x07\x9b\xff\xc3\xa9\xe2\x80\xae" * 1000,
        b"a CALL " + b"%1B" * 2000,
        b"a" * 8000,
    ],
)
def test_a_line_is_limited_and_escaped(data: bytes) -> None:
    written: list[bytes] = []
    journal = Journal()
    journal.sinks.append(AccessLog(written.append, 80).write)
    call = journal.received("tcp", ("127.0.0.1", 54321), None, data, readable_request(data), 0)
    call.fault = "\x1b" * 1000
    journal.ended(call, FAULTED, b"a ERR " + b"\x1b[2Jx" * 1000, 1)
    (line,) = written
    assert line.endswith(b"\n")
    assert all(0x20 <= byte <= 0x7E for byte in line[:-1])
    assert len(line) < 300


# ---- the installed command ---------------------------------------------------------------------


def log_of(running: RunningServer) -> list[str]:
    """End it, and return the access log without times, ports and milliseconds."""
    lines = running.stop_and_read_log()
    assert all(re.match(rf"{TIME},\d+ INFO esps_portal: |{TIME} 127", line) for line in lines)
    requests = [line.split(" ", 2)[2] for line in lines if " INFO " not in line]
    return [re.sub(r":\d+ |[\d.]+ ms", "", line).strip() for line in requests]


@pytest.mark.parametrize("fronted", [False, True], ids=["serve", "proxy"])
def test_each_request_is_a_line(portal: ThreadedPortal, fronted: bool) -> None:
    upstream = ("--upstream", portal.url) if fronted else ()
    command = "proxy" if fronted else "serve"
    with running_server("--access-log", *upstream, json_lines=False, command=command) as running:
        with blocking.connect(running.url) as client:
            client.call("echo", "a b")
            with client.stream("drip", "2", "0") as rows:
                assert len(list(rows)) == 2
            with pytest.raises(ReplyError):
                client.call("nope")
        assert ask_once(running.port, b"a PING\n") == b"a OK\n"
        with socket.create_connection(("127.0.0.1", running.port), timeout=30) as peer:
            peer.recv(100)
            peer.sendall(b"\x1b[2J\n")
            peer.shutdown(socket.SHUT_WR)
            while peer.recv(100):
                pass
        lines = log_of(running)
    assert [line.removeprefix("127.0.0.1") for line in lines if "QUIT" not in line] == [
        "tcp CALL echo a%20b -> OK",
        "tcp CALL drip 2 0 -> OK",
        "tcp CALL nope -> ERR unknown-service",
        "udp PING -> OK",
        r'tcp "\x1b[2J" -> ERR bad-line',
    ]


def test_a_connection_without_requests_is_a_line() -> None:
    with running_server("--access-log", json_lines=False) as running:
        with socket.create_connection(("127.0.0.1", running.port), timeout=30) as peer:
            peer.recv(100)
            peer.shutdown(socket.SHUT_WR)
            assert not peer.recv(100)
        lines = log_of(running)
    assert lines == ["127.0.0.1tcp (no request) -> closed by client (FIN)"]


def test_each_fault_that_struck_is_named() -> None:
    faults = ("--fault", "accept-close connection=1", "--fault", "truncate bytes=3 service=echo")
    with running_server("--access-log", *faults, json_lines=False) as running:
        for _ in range(2):
            with pytest.raises(ClosedError), blocking.connect(running.url) as portal:
                portal.call("echo")
        lines = log_of(running)
    assert lines == [
        "127.0.0.1tcp (no request) -> closed by portal (FIN) ; fault: accept-close connection=1",
        "127.0.0.1tcp CALL echo -> faulted (OK) ; fault: truncate bytes=3 service=echo",
    ]


def test_the_default_is_on_for_a_terminal() -> None:
    with running_server(json_lines=False) as running:
        with blocking.connect(running.url) as portal:
            portal.ping()
        assert log_of(running) == []
    leader, follower = pty.openpty()
    line = [COMMAND, "serve", "--port", "0"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=follower, text=True) as process:
        os.close(follower)
        assert process.stdout is not None
        running = RunningServer(process, lines=[process.stdout.readline()])
        with blocking.connect(running.url) as portal, os.fdopen(leader, "rb") as screen:
            portal.ping()
            seen = screen.readline().decode()
            assert running.stop() == 0
    assert re.fullmatch(r"\d\d:\d\d:\d\d 127.0.0.1:\d+ tcp PING -> OK [\d.]+ ms\r\n", seen)


def test_with_json_requests_are_events() -> None:
    for options, expected in (((), ["opened", "received", "replied"]), (("--no-access-log",), [])):
        with running_server(*options) as running:
            with blocking.connect(running.url) as portal:
                portal.ping()
            running.process.send_signal(signal.SIGTERM)
            events = [json.loads(line)["event"] for line in running.output]
            assert running.process.stderr is not None
            assert "PING" not in running.process.stderr.read()
        assert events[: len(expected)] == expected
        assert events[-1] == "stopped"
        assert expected or events == ["stopped"]


def test_a_slow_reader_of_the_log_does_not_block_the_portal() -> None:
    """The pipe is full before this test ends. The program's own log uses the same writer."""
    with running_server("--access-log", json_lines=False) as running:
        send_pings(running, 2000)
        assert running.process.stderr is not None
        readable, _, _ = select.select([running.process.stderr.fileno()], [], [], 30)
        assert readable
        assert running.stop() == 0, "nor the shutdown"


def test_a_log_without_a_reader() -> None:
    with running_server("--access-log", json_lines=False) as running:
        assert running.process.stderr is not None
        running.process.stderr.close()
        running.process.stderr = None
        for _ in range(3):
            with blocking.connect(running.url) as portal:
                portal.ping()
        assert running.stop() == 0


async def test_without_a_reader_nothing_is_formatted(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, as_json in (("stdout", True), ("stderr", False)):
        reading, writing = os.pipe()
        with os.fdopen(writing, "w") as output:
            monkeypatch.setattr(sys, name, output)
            reports = Reports.of(
                ErrorLog(TextLog()), as_json=as_json, access_log=not as_json or None
            )
            journal = Journal()
            reports.watch(journal)
            with trio.fail_after(30):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(reports.run)
                    assert journal.has_listeners
                    os.close(reading)
                    record = journal.opened(("127.0.0.1", 5), 1.0)
                    other = journal.opened(("127.0.0.1", 6), 1.0)
                    exchange = journal.began("tcp", other.remote, other, 1, 1.0)
                    journal.sent(exchange, "client", b"GET", 1.0)
                    journal.closed(record, "client", "fin", 2.0)
                    while journal.has_listeners:
                        await trio.lowlevel.checkpoint()
                    nursery.cancel_scope.cancel()
            later: list[Entry] = []
            journal.sinks.append(later.append)
            journal.exchange_ended(exchange, 3.0, complete=False)
            assert [entry.event for entry in later] == [ABORTED]  # "GET" was not kept for it
