"""``esps-portal peer`` as a command: what it plays, prints, writes, logs and reloads."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import run, run_failing
from tests.forked import ForkedProcess
from tests.journal.packets import read_capture, read_streams
from tests.mock.scenarios import PEERS
from tests.processes import RunningServer, running_server

MAIL = """\
[[peers]]
name = "mail"
framing = "lines:crlf"
greeting = "220 ready"
[[peers.stubs]]
match = "NOOP"
reply = "250 ok"
[[peers.stubs]]
match = "QUIT"
reply = "221 bye"
then_close = true
"""


@contextlib.contextmanager
def played(*options: str, json_lines: bool = True) -> Iterator[RunningServer]:
    with running_server(*options, json_lines=json_lines, command="peer") as peer:
        yield peer


def said(peer: RunningServer, *requests: bytes) -> bytes:
    """Return what comes on a connection until its end."""
    with socket.create_connection(("127.0.0.1", peer.port), 30) as client:
        client.sendall(b"".join(requests))
        client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(1000), b""))


@pytest.fixture
def mail(tmp_path: Path) -> Path:
    file = tmp_path / "mail.toml"
    file.write_text(MAIL, encoding="utf-8")
    return file


def test_a_framing_and_a_greeting() -> None:
    with played("--framing", "lines:crlf", "--greeting", "421 later", "--greeting", "bye") as peer:
        assert (peer.ready["udp"], peer.ready["control"]) == ([], None)
        assert said(peer) == b"421 later\r\nbye\r\n"
        assert peer.stop() == 0


def test_each_exchange_is_an_event(mail: Path) -> None:
    with played("--scenario", str(mail)) as peer:
        assert said(peer, b"NOOP\r\nQUIT\r\n") == b"220 ready\r\n250 ok\r\n221 bye\r\n"
        peer.process.send_signal(signal.SIGINT)
        events = [json.loads(line) for line in peer.output]
    assert events[0]["event"] == "opened"
    units = [(event["from"], event["data"]) for event in events if event["event"] == "unit"]
    assert sorted(units) == [
        ("client", "NOOP\r\n"),
        ("client", "QUIT\r\n"),
        ("server", "220 ready\r\n"),
        ("server", "221 bye\r\n"),
        ("server", "250 ok\r\n"),
    ]
    assert [event["event"] for event in events[-2:]] == ["closed", "stopped"]
    assert events[-2]["by"] in {"peer", "client"}


def test_the_addresses_are_printed() -> None:
    with played("--framing", "length-prefixed:2", "--udp", json_lines=False) as peer:
        assert peer.first_lines(3).endswith(f"port {peer.port} (UDP)\nPress Ctrl-C to stop.\n")
        assert peer.stop() == 0


def test_datagrams(tmp_path: Path) -> None:
    file = tmp_path / "peers.toml"
    file.write_text(PEERS, encoding="utf-8")
    with played("--scenario", str(file), "--name", "dns") as peer:
        assert peer.ready["tcp"] == peer.ready["udp"]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(30)
            client.sendto(b"12 example", ("127.0.0.1", peer.port))
            assert client.recv(100) == b"12\x81\x80"


def test_an_unexpected_frame_is_logged_and_escaped(mail: Path) -> None:
    with played("--scenario", str(mail)) as peer:
        assert said(peer, b"NO\x1b[31m\r\n") == b"220 ready\r\n"
        assert peer.process.stderr is not None
        line = peer.process.stderr.readline()
        assert said(peer, b"\r\n") == b"220 ready\r\n"
        second = peer.process.stderr.readline()
    assert line.endswith(
        r"unexpected frame (tcp #1): NO\x1b[31m: nearest stub: 'NOOP': byte 2 is 0x1b, not 0x4f"
        " 'O'\n"
    )
    assert "unexpected frame (tcp #2): (empty): nearest stub: " in second


def test_faults_and_what_never_struck(mail: Path) -> None:
    faults = ("--fault", "truncate bytes=3 match=NOOP", "--fault", "reset match=never")
    with played("--scenario", str(mail), *faults) as peer:
        assert said(peer, b"NOOP\r\n") == b"220 ready\r\n250"
        assert peer.stop() == 0
        assert peer.process.stderr is not None
        assert "fault never struck: reset match='never': " in peer.process.stderr.read()


@pytest.mark.parametrize("command", ["peer", "proxy"])
def test_what_is_a_portals_is_not_used_and_that_is_logged(tmp_path: Path, command: str) -> None:
    """Faults that stand at the top of a file, as those of a portal do, strike nothing here."""
    file = tmp_path / "a.toml"
    proxies = '[[proxies]]\nname = "a"\nupstream = "tcp://127.0.0.1:1"\n'
    file.write_text(f'{MAIL}{proxies}[[faults]]\nfault = "reset"\n', encoding="utf-8")
    with running_server("--scenario", str(file), json_lines=False, command=command) as server:
        log = server.stop_and_read_log()
    below = {"peer": "peers", "proxy": "proxies"}[command]
    why = f"[[faults]] is for a portal: what is not below [[{below}]] is not used here"
    assert any(line.endswith(f"a.toml: {why}") for line in log)


def test_what_is_written_can_be_replayed(mail: Path, tmp_path: Path) -> None:
    record, capture = tmp_path / "mail.jsonl", tmp_path / "mail.pcap"
    files = ("--record", str(record), "--pcap", str(capture))
    with played("--scenario", str(mail), *files) as peer:
        seen = said(peer, b"NOOP\r\n", b"QUIT\r\n")
        port = peer.port
        assert peer.stop() == 0
    (stream,) = read_streams(read_capture(capture.read_bytes()))
    assert stream.said() == (b"NOOP\r\nQUIT\r\n", seen)
    assert stream.server == ("127.0.0.1", port)
    with played("--replay", str(record)) as peer:
        assert said(peer, b"NOOP\r\n", b"QUIT\r\n") == seen


def test_sighup_reads_the_scenario_again(mail: Path) -> None:
    line = ["peer", "--json", "--no-access-log", "--scenario", str(mail)]
    with ForkedProcess(*line, new_session=True) as process:
        try:
            assert process.stdout is not None
            peer = RunningServer(process, json.loads(process.stdout.readline()))
            mail.write_text(MAIL.replace("250 ok", "250 fine"), encoding="utf-8")
            process.send_signal(signal.SIGHUP)
            assert json.loads(process.stdout.readline()) == {"event": "reloaded", "error": None}
            assert said(peer, b"NOOP\r\nQUIT\r\n") == b"220 ready\r\n250 fine\r\n221 bye\r\n"
            mail.write_text(MAIL.replace("220", "221"), encoding="utf-8")
            process.send_signal(signal.SIGHUP)
            error = json.loads(process.stdout.readline())["error"]
            assert error == f"{mail}: greeting cannot change after the peer has started"
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("", "give --framing, --scenario or --replay"),
        ("--framing line", "unknown framing 'line'; did you mean 'lines'?"),
        ("--framing lines --name x", "--name chooses one of the peers of --scenario"),
        ("--framing datagrams --greeting x", "'--greeting': a greeting is for connections"),
        ("--framing fixed:2 --greeting x", "'--greeting': fixed:2: a frame has 2 bytes, got 1"),
        ("--framing lines --fault drop", "'--fault': fault 'drop' works over UDP only"),
        ("--framing lines --fault 'reset to=server'", "'--fault': to='server' is for a proxy"),
        ("--framing lines --no-tcp", "a peer over UDP alone has --framing datagrams"),
        ("--framing datagrams --no-udp", "--no-udp: this peer is for UDP"),
        ("--scenario {}", "peers: there are several: give the name mail or dns or udp"),
        ("--scenario {} --name web", "peers: there is no 'web', but mail, dns, udp"),
        ("--replay {}", "line 1: "),
        ("--framing lines --pcap {}", "the file exists and is not a capture by esps-portal"),
    ],
)
def test_wrong_usage(tmp_path: Path, options: str, message: str) -> None:
    file = tmp_path / "peers.toml"
    file.write_text(PEERS, encoding="utf-8")
    words = [word.replace("'", "") for word in options.format(file).split(" ") if word]
    if "'reset" in options:
        words[-2:] = ["reset to=server"]
    status, text = run_failing("peer", *words)
    assert message in text
    assert status == (1 if "--pcap" in options else 2)


def test_options_that_a_recording_has_itself(tmp_path: Path) -> None:
    record = tmp_path / "record.jsonl"
    unit = {"event": "unit", "transport": "tcp", "connection": 1, "exchange": 1, "data": "x"}
    lines = [{"event": "began", "format": 1}, unit | {"from": "client"}, unit | {"from": "server"}]
    record.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    for option in ("--framing", "--greeting"):
        status, text = run_failing("peer", "--replay", str(record), option, "lines")
        assert status == 2
        assert f"{option} and --replay: a recording has its own" in text


def test_run_starts_the_peers_of_a_scenario(mail: Path) -> None:
    script = (
        "import os, socket; s = socket.create_connection((os.environ['ESPS_PORTAL_MAIL_HOST'],"
        " int(os.environ['ESPS_PORTAL_MAIL_PORT']))); s.sendall(b'NOOP\\r\\n');"
        " s.shutdown(1); print(s.makefile().read())"
    )
    status, out, err = run(
        "run", "--strict", "--scenario", str(mail), "--", "python3", "-c", script
    )
    assert out == "220 ready\n250 ok\n\n"
    assert "peer mail: unused stub: 'QUIT': never used" in err
    assert status == 1


def test_tls(mail: Path) -> None:
    with played("--scenario", str(mail), "--tls-self-signed") as peer:
        context = ssl.create_default_context(cafile=str(peer.ready["tls_ca"]))
        with (
            socket.create_connection(("127.0.0.1", peer.port), 30) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as client,
        ):
            client.sendall(b"QUIT\r\n")
            assert b"".join(iter(lambda: client.recv(100), b"")) == b"220 ready\r\n221 bye\r\n"
    status, text = run_failing("peer", "--framing", "datagrams", "--tls-self-signed")
    assert status == 2
    assert "TLS needs TCP" in text
