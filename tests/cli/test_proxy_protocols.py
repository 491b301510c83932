"""``esps-portal proxy`` in front of a server that does not speak ESPS/1."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from esps_portal.cli import proxy as proxy_module
from tests.cases import cases
from tests.cli.echo_servers import echo_server
from tests.commands import run, run_failing
from tests.forked import ForkedProcess
from tests.journal.packets import read_capture, read_streams
from tests.journal.recorded_units import joined
from tests.patience import until
from tests.processes import RunningServer, running_server

CLOSED = "tcp://127.0.0.1:9"


@contextlib.contextmanager
def proxied(*options: str, scheme: str = "tcp", json_lines: bool = True) -> Iterator[RunningServer]:
    with (
        echo_server(scheme) as upstream,
        running_server(
            "--upstream", upstream, *options, json_lines=json_lines, command="proxy"
        ) as front,
    ):
        yield front


@contextlib.contextmanager
def daemon(*options: str) -> Iterator[RunningServer]:
    """Run a proxy in a session of its own, without a terminal."""
    line = ["proxy", "--json", "--no-access-log", *options]
    with ForkedProcess(*line, new_session=True) as process:
        try:
            assert process.stdout is not None
            yield RunningServer(process, json.loads(process.stdout.readline()))
        finally:
            process.kill()


def ask(front: RunningServer, line: bytes) -> bytes:
    """Send a line on a connection of its own; return all that comes before FIN or RST."""
    seen = b""
    with (
        contextlib.suppress(ConnectionResetError, BrokenPipeError),
        socket.create_connection(("127.0.0.1", front.port), 30) as peer,
    ):
        peer.sendall(line)
        with contextlib.suppress(OSError):  # a RST has come; what came before it can be read
            peer.shutdown(socket.SHUT_WR)
        while data := peer.recv(1000):
            seen += data
    return seen


def events(front: RunningServer) -> list[dict[str, Any]]:
    """End it, and return the events."""
    front.process.send_signal(signal.SIGTERM)
    found = [json.loads(line) for line in front.output]
    assert front.process.wait(30) == 0
    return found


# ---- faults and what is reported -----------------------------------------------------------------


def test_a_fault_from_the_command_line_strikes_and_is_in_the_log() -> None:
    options = ("--fault", "reset match=INCR offset=2 times=1", "--access-log")
    with proxied(*options, json_lines=False) as front:
        assert ask(front, b"INCR n\n") == b"OK"
        assert ask(front, b"INCR n\n") == b"OK INCR n\n"
        assert ask(front, b"\xff\x1b[2J\n") == b"OK \xff\x1b[2J\n"
        lines = front.stop_and_read_log()
    first, second, third = (line for line in lines if " tcp " in line)
    assert ' tcp "INCR n\\n" -> faulted (10 bytes) ' in first
    assert first.endswith("; fault: reset match='INCR' offset=2 times=1")
    assert ' tcp "INCR n\\n" -> 10 bytes ' in second
    assert ' tcp "\\xff\\x1b[2J\\n" -> 9 bytes ' in third


def test_each_connection_unit_and_exchange_is_an_event() -> None:
    with proxied() as front:
        assert str(front.ready["upstream"]).startswith("tcp://127.0.0.1:")
        assert front.ready["udp"] == []
        ask(front, b"hi\n")
        found = events(front)
    kinds = [event["event"] for event in found]
    assert list(dict.fromkeys(kinds)) == ["opened", "unit", "replied", "closed", "stopped"]
    said = joined(map(json.dumps, found))
    assert {side: data for (*_, side), data in said.items()} == {
        "client": b"hi\n",
        "server": b"OK hi\n",
    }


def test_a_reply_is_an_event_while_the_client_is_silent() -> None:
    with proxied() as front, socket.create_connection(("127.0.0.1", front.port), 30) as peer:
        peer.sendall(b"hi\n")
        data = ""
        while data != "OK hi\n":
            event = json.loads(front.output.readline())
            data = event.get("data")
        assert event["continues"]


def test_over_udp() -> None:
    with (
        proxied("--fault", "truncate bytes=2 reply_match=cut", scheme="udp") as front,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer,
    ):
        assert front.ready["tcp"] == []
        peer.settimeout(30)
        peer.connect(("127.0.0.1", front.port))
        for sent, got in ((b"whole", b"OK whole"), (b"cut", b"OK")):
            peer.send(sent)
            assert peer.recv(1000) == got
        units = [event for event in events(front) if event["event"] == "unit"]
    assert [unit["data"] for unit in units] == ["whole", "OK whole", "cut", "OK cut"]


def test_a_framing_tells_requests_apart() -> None:
    """Two in one segment are two; ``no-terminator`` knows where a reply ends."""
    options = ("--framing", "lines:lf", "--fault", "no-terminator match=a")
    with proxied(*options) as front:
        assert ask(front, b"a\nb\n") == b"OK aOK b\n"


def test_the_addresses_and_the_upstream_are_printed() -> None:
    with proxied(json_lines=False) as front:
        lines = front.first_lines(3).splitlines()
        assert lines[0] == f"listening on 127.0.0.1 port {front.port} (TCP)"
        assert lines[1].startswith("relaying to tcp://127.0.0.1:")
        assert lines[2] == "Press Ctrl-C to stop."


def test_the_seed_of_a_random_fault_is_reported() -> None:
    fault = ("--fault", "reset chance=1 seed=5")
    with proxied(*fault) as front:
        assert json.loads(front.output.readline()) == {
            "event": "fault",
            "fault": "reset chance=1 seed=5",
            "seed": 5,
        }
    with proxied(*fault, json_lines=False) as front:
        front.first_lines(3)
        assert front.stop_and_read_log()[0].endswith("random fault: reset chance=1 seed=5")


def test_a_fault_that_never_struck_says_why_at_the_end() -> None:
    with proxied("--fault", "reset match=INCR", json_lines=False) as front:
        ask(front, b"incr\n")
        *_, last = front.stop_and_read_log()
    assert "fault never struck: reset match='INCR': selected 0 times; nearest: " in last
    assert last.endswith(" does not match 'INCR'")


@pytest.mark.parametrize("upstream", ["tcp://no-such-host.invalid:6379", CLOSED])
def test_it_stays_up_while_the_server_cannot_be_reached(upstream: str) -> None:
    with running_server("--upstream", upstream, command="proxy") as front:
        assert front.process.stderr is not None
        if "no-such-host" in upstream:  # it is looked up at the start
            line = front.process.stderr.readline()
            assert " cannot resolve no-such-host.invalid so far: " in line
        for _ in range(2):
            assert ask(front, b"hi\n") == b""
            assert f" cannot reach {upstream}: " in front.process.stderr.readline()
        assert front.stop() == 0


def test_a_server_that_goes_and_comes_back() -> None:
    with echo_server() as upstream:
        front = contextlib.ExitStack()
        running = front.enter_context(running_server("--upstream", upstream, command="proxy"))
        assert ask(running, b"1\n") == b"OK 1\n"
    with front:
        assert ask(running, b"2\n") == b""
        assert running.stop() == 0


# ---- where it listens ----------------------------------------------------------------------------


def test_ctrl_c_ends_it_while_a_client_is_connected() -> None:
    with proxied() as front, socket.create_connection(("127.0.0.1", front.port), 30) as peer:
        peer.sendall(b"hi\n")
        assert peer.recv(100) == b"OK hi\n"
        assert front.stop(signal.SIGINT) == 0
        assert peer.recv(100) == b""


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        status, message = run_failing("proxy", "--upstream", CLOSED, "--port", port)
    assert status == 1
    assert message.startswith(f"esps-portal: cannot listen on 127.0.0.1 port {port} (tcp)")


def test_without_a_port_it_takes_a_free_one() -> None:
    with echo_server() as upstream, daemon("--upstream", upstream) as front:
        assert ask(front, b"hi\n") == b"OK hi\n"


@pytest.mark.parametrize(
    ("args", "port"),
    [
        (["--upstream", CLOSED], 0),
        (["--upstream", CLOSED, "--port", "2867"], 2867),
        (["--upstream", "esps://127.0.0.1:9"], 2867),
        (["--upstream", "esps://127.0.0.1:9", "--port", "0"], 0),
    ],
)
def test_the_default_port(monkeypatch: pytest.MonkeyPatch, args: list[str], port: int) -> None:
    configs: list[Any] = []
    monkeypatch.setattr(proxy_module, "run_server", lambda main, _: configs.append(main.args[0]))
    assert run("proxy", *args)[0] == 0
    assert [config.port for config in configs] == [port]


def test_its_own_address_is_no_upstream() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = str(taken.getsockname()[1])
    status, message = run_failing("proxy", "--upstream", f"tcp://127.0.0.1:{port}", "--port", port)
    assert status == 1
    assert message == (
        f"esps-portal: tcp://127.0.0.1:{port} is this proxy itself: give it a port of its own"
    )


# ---- bad usage -----------------------------------------------------------------------------------


@cases(
    ("args", "says"),
    [
        ("--upstream http://x:1", "'--upstream': unknown scheme in 'http://x:1': write tcp://HOST"),
        ("--upstream tcp://x", "the port is missing in 'tcp://x': write tcp://x:PORT"),
        ("--upstream tcp://x:99999", "'tcp://x:99999' is not an upstream: "),
        ("--upstream tcp://x:1 --tls-cert c", "--tls-cert needs --tls-key"),
        ("--upstream localhost:", "'localhost:' is not an upstream: the port after the colon is"),
        (
            "--upstream tcp://[::1",
            "is not an upstream: the closing bracket is missing",
        ),
        ("--upstream udp://x:1 --no-udp", "neither TCP nor UDP is left to relay"),
        ("--upstream tcp://x:1 --udp", "--udp: tcp://x:1 is TCP alone; tcp+udp://HOST:PORT is"),
        ("--upstream tls://x:1 --udp", "--udp: tls://x:1 is TCP alone"),
        ("--framing line", "'--framing': unknown framing 'line'; did you mean 'lines'?"),
        ("--framing fixed:0", "'--framing': "),
        ("--framing datagrams", "'--framing': 'datagrams' is not a framing of a stream"),
        (
            "--framing lines --upstream udp://x:1",
            "'--framing': a framing is for TCP; for udp://x:1",
        ),
        ("--framing lines --upstream esps://x", "'--framing': esps://x:2867 has its own framing"),
        ("--reply-framing lines", "--reply-framing needs --framing"),
        ("--framing lines --reply-framing x", "'--reply-framing': unknown framing 'x'"),
        ("--fault rest", "'--fault': unknown fault 'rest'"),
        ("--fault", "'--fault' requires an argument"),
        ("--name x", "--name chooses one of the proxies of --scenario"),
        ("--scenario nowhere.toml", "nowhere.toml: No such file or directory"),
    ],
)
def test_bad_usage(args: str, says: str) -> None:
    status, message = run_failing("proxy", "--upstream", CLOSED, *args.split())
    assert status == 2
    assert says in message


@pytest.mark.parametrize(
    ("upstream", "fault", "says"),
    [
        (CLOSED, "drop", "fault 'drop' works over UDP only; this proxy is served over TCP"),
        ("udp://x:1", "reset", "fault 'reset' works over TCP only"),
        (CLOSED, "reset service=echo", "service is for ESPS/1: select by what the client sends"),
        (CLOSED, "slice at=middle", "slice at=middle needs framing=; or give at=BYTE"),
        (CLOSED, "no-terminator", "needs a framing with terminators"),
        (CLOSED, "corrupt", "corrupt without at needs framing=: give at=BYTE"),
        (CLOSED, "reset when=before match=re:a+", "give framing="),
        (CLOSED, "patch at=0 hex=abc", "hex"),
        (CLOSED, "patch at=0 hex=zz", "hex"),
        (CLOSED, "reset match=hex:f", "match.hex: must be bytes in hexadecimal, two digits each"),
        (CLOSED, "reset match=re:(", "match.regex: not a regular expression"),
        (CLOSED, "reset 'match=a", "a quote is not closed"),
        (CLOSED, "reset to=nobody", "to"),
    ],
)
def test_a_fault_that_makes_no_sense(upstream: str, fault: str, says: str) -> None:
    status, message = run_failing("proxy", "--upstream", upstream, "--fault", fault)
    assert status == 2
    assert message.startswith("esps-portal proxy: Invalid value for '--fault': ")
    assert says in message


def test_a_fault_towards_the_server_is_the_proxys_alone() -> None:
    with proxied("--fault", "reset to=server") as front:
        assert ask(front, b"hi\n") == b""
    status, message = run_failing("serve", "--port", "0", "--fault", "reset to=server")
    assert status == 2
    assert "to='server' is for a proxy" in message


# ---- files ---------------------------------------------------------------------------------------

SCENARIO = """
[[stubs]]                     # of the portal of "run"
service = "price"

[[proxies]]
name = "cache"
upstream = "{}"
framing = "lines"
[[proxies.faults]]
fault = "no-terminator"
match = "a"

[[proxies]]
name = "dns"
upstream = "udp://127.0.0.1:9"
"""


def test_a_proxy_of_a_scenario(tmp_path: Path) -> None:
    path = tmp_path / "shop.toml"
    with echo_server() as upstream:
        path.write_text(SCENARIO.format(upstream))
        with daemon("--scenario", str(path), "--name", "cache") as front:
            assert front.ready["upstream"] == upstream
            assert ask(front, b"a\nb\n") == b"OK aOK b\n"
        path.write_text(SCENARIO.format(CLOSED))
        more = ("--upstream", upstream, "--fault", "close match=b")
        with daemon("--scenario", str(path), "--name", "cache", *more) as front:
            assert ask(front, b"a\nb\n") == b"OK a"


@pytest.mark.parametrize(
    ("text", "args", "says"),
    [
        ("", [], "shop.toml: proxies: there are none in the file"),
        (SCENARIO, [], "shop.toml: proxies: there are several: give the name cache or dns"),
        (SCENARIO, ["--name", "x"], "shop.toml: proxies: there is no 'x', but cache, dns"),
        (
            SCENARIO.replace("{}", "tcp://x"),
            ["--name", "cache"],
            "shop.toml: proxies[0].upstream: the port is missing in 'tcp://x'",
        ),
        (
            SCENARIO.replace("no-term", "no-turm"),
            ["--name", "cache"],
            "shop.toml: proxies[0].faults[0].fault: unknown fault 'no-turminator'",
        ),
        (
            SCENARIO.replace('framing = "lines"', "").replace("{}", CLOSED),
            ["--name", "cache"],
            "shop.toml: proxies[0].faults[0]: fault 'no-terminator' needs a framing with",
        ),
    ],
)
def test_a_scenario_that_cannot_be_used(
    tmp_path: Path, text: str, args: list[str], says: str
) -> None:
    path = tmp_path / "shop.toml"
    path.write_text(text)
    status, message = run_failing("proxy", "--scenario", str(path), *args)
    assert status == 2
    assert says in message


def test_files_that_cannot_be_written(tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("mine\n")
    for option in ("--record", "--pcap"):
        status, message = run_failing("proxy", "--upstream", CLOSED, option, str(notes))
        assert (status, notes.read_text()) == (1, "mine\n")
        assert message.startswith(f"esps-portal: cannot record to {notes}: the file exists and is")


def test_sighup_reopens_files_and_reads_the_scenario_again(tmp_path: Path) -> None:
    scenario, record, pcap = (tmp_path / name for name in ("s.toml", "r.jsonl", "r.pcap"))
    with echo_server() as upstream:
        text = f"[[proxies]]\nname = 'a'\nupstream = '{upstream}'\n"
        scenario.write_text(text)
        files = ("--scenario", str(scenario), "--record", str(record), "--pcap", str(pcap))
        with daemon(*files) as front:
            assert ask(front, b"1\n") == b"OK 1\n"
            until(lambda: '"closed"' in record.read_text())
            for path in (record, pcap):
                path.rename(f"{path}.1")
            scenario.write_text(f"{text}[[proxies.faults]]\nfault = 'truncate'\nbytes = 2\n")
            os.kill(front.process.pid, signal.SIGHUP)
            errors = [json.loads(front.output.readline())["error"] for _ in range(3)]
            assert errors == [None, None, None]
            assert ask(front, b"2\n") == b"OK"
            scenario.write_text(text.replace("tcp://", "tcp+udp://"))
            os.kill(front.process.pid, signal.SIGHUP)
            error = json.loads(front.output.readline())["error"]
            assert error.endswith(": upstream cannot change after the proxy has started")
            assert ask(front, b"3\n") == b"OK"
            assert front.stop() == 0
    for path, said in ((Path(f"{record}.1"), b"OK 1\n"), (record, b"OK 2\n")):
        assert said in joined(path.read_text().splitlines()).values()
    streams = [read_streams(read_capture(path.read_bytes())) for path in (Path(f"{pcap}.1"), pcap)]
    assert [[stream.said()[0] for stream in found] for found in streams] == [
        [b"1\n"],
        [b"2\n", b"3\n"],
    ]
