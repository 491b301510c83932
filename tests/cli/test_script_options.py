"""``serve`` with a scenario, with faults, and with events."""

from __future__ import annotations

import json
import select
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from esps_portal import blocking
from esps_portal.cli import script_files
from esps_portal.protocol.errors import PeerError, ReplyError
from tests.cli.peers import send_pings
from tests.commands import run_failing
from tests.processes import RunningServer, running_server


def event(running: RunningServer) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(running.output.readline())
    return found


def rest(running: RunningServer) -> list[Any]:
    """Stop it, and return the events that were left."""
    running.process.send_signal(signal.SIGTERM)
    events = [json.loads(line) for line in running.output]
    assert running.process.wait(30) == 0
    return events


def usage_error(*args: str) -> str:
    code, message = run_failing("serve", "--port", "0", *args)
    assert code == 2
    return message


# ---- scenario and faults -----------------------------------------------------------------------


def test_a_file_that_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script_files, "_MAX_RECORDING", 1 << 20)
    for option, most in (("--scenario", 64), ("--replay", 1)):
        message = usage_error(option, "/dev/zero")
        assert f"Invalid value for '{option}': /dev/zero: must be at most {most} MiB; " in message


def test_a_scenario_and_faults(tmp_path: Path) -> None:
    path = tmp_path / "shop.toml"
    path.write_text('limits = {max-line = 600}\nstubs = [{service = "price", reply = "9.99"}]')
    fault = "reset service=price when=before request=2,3"
    with running_server("--scenario", str(path), "--fault", fault) as running:
        assert running.ready["control"] is None
        with blocking.connect(running.url) as portal:
            assert portal.call("price") == (b"9.99",)
            with pytest.raises(PeerError):
                portal.call("price")
        with blocking.connect(running.url) as portal, pytest.raises(PeerError):
            portal.call("price")
        with blocking.connect(running.url) as portal:
            assert portal.call("price") == (b"9.99",)
            with pytest.raises(ReplyError, match="too-long"):
                portal.call("echo", "x" * 600)


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        ("reset match=sku offset=3", b"a O"),
        ("reset match='sku 7' offset=4", b"a OK"),
        (r"reset match=re:^\w\sCALL reply_match=hex:6b752037 offset=3", b"a O"),
        ("patch at=2 hex=2323", b"a ## sku 7\n"),
        ("slice every=3 match=CALL", b"a OK sku 7\n"),
    ],
)
def test_what_a_fault_selects(fault: str, seen: bytes) -> None:
    with running_server("--fault", fault) as running:
        address = ("127.0.0.1", running.port)
        with socket.create_connection(address, timeout=30) as peer, peer.makefile("rb") as lines:
            assert lines.readline().startswith(b"* ESPS/1")
            peer.sendall(b"a CALL echo sku 7\n")
            found = b""
            try:
                while not found.endswith(b"\n"):
                    found += peer.recv(100)
            except ConnectionResetError:
                assert fault.startswith("reset")
            assert found == seen


def test_serve_does_not_verify() -> None:
    with running_server("--fault", "reset service=nosuchservice") as running:
        with blocking.connect(running.url) as portal:
            portal.call("echo")
        running.process.terminate()
        assert running.process.wait(30) == 0
        assert running.process.stderr is not None
        assert "fault" not in running.process.stderr.read()


def test_a_seed_is_an_event_or_in_the_log() -> None:
    with running_server("--fault", "garbage chance=0.25 when=before") as running:
        fault = event(running)
        assert fault["event"] == "fault"
        assert f"seed={fault['seed']}" in fault["fault"]
    with running_server(
        "--fault", "latency seconds=0.1 chance=0.25 seed=8", json_lines=False
    ) as running:
        assert running.process.stderr is not None
        line = running.process.stderr.readline()
        assert line.endswith("random fault: latency seconds=0.1 jitter=0.0 chance=0.25 seed=8\n")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--fault", "rest"], "unknown fault 'rest'; did you mean 'reset'?"),
        (["--fault", ""], "unknown fault ''"),
        (["--fault", "reset now"], "'now': expected NAME KEY=VALUE..., with each key only once"),
        (["--fault", "reset times=1 times=2"], "'times=2': expected NAME KEY=VALUE..."),
        (["--fault", "reset times=x"], "times must be a positive integer, got 'x'"),
        (["--fault", "reset servic=echo"], "has no parameter 'servic'; did you mean 'service'?"),
        (["--fault", "reset seconds=1"], "fault 'reset' has no parameter 'seconds'"),
        (["--fault", "reset optional=yes"], 'optional: must be true or false, got "yes"'),
        (["--fault", "reset match="], "match must not be empty"),
        (["--fault", "reset match=re:("], "match.regex: not a regular expression: "),
        (["--fault", "reset match=hex:0"], "match.hex: must be bytes in hexadecimal, two digits"),
        (["--fault", "reset match='a b"], "a quote is not closed"),
        (["--fault", "reset to=server"], "to='server' is for a proxy: no server is behind"),
        (["--fault", "patch at=1 hex=123"], "hex must be bytes in hexadecimal, two digits each"),
        (
            ["--fault", "drop offset=3"],
            "offset is for connections, and fault",
        ),
        (["--fault", "latency"], "fault 'latency' needs seconds"),
        (["--scenario", "nowhere.toml"], "nowhere.toml: No such file or directory"),
    ],
)
def test_bad_usage(args: list[str], says: str) -> None:
    assert says in usage_error(*args)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"stubs = [{}]", "stubs[0].service: this key is required"),
        (b"[[stubs]\n", "not TOML: "),
        (b"\xff", "not UTF-8 text"),
        (
            b'limits={max-line=512}\nstubs=[{service="a",reply="' + b"x" * 600 + b'"}]',
            "stubs[0]: thi",
        ),
    ],
)
def test_a_bad_scenario(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "shop.toml"
    path.write_bytes(content)
    assert says in usage_error("--scenario", str(path))


# ---- events ------------------------------------------------------------------------------------


def test_each_request_is_an_event() -> None:
    with running_server("--control") as running:
        with socket.create_connection(("127.0.0.1", running.port), timeout=30) as peer:
            opened = event(running)
            assert (opened["event"], opened["connection"]) == ("opened", 1)
            assert opened["remote"] == list(peer.getsockname())
            peer.sendall(b"a CALL echo %FF\n")
            received, replied = event(running), event(running)
            assert received == opened | {
                "event": "received",
                "at": received["at"],
                "tag": "a",
                "verb": "CALL",
                "service": "echo",
                "args": [{"b64": "/w=="}],
            }
            assert (replied["event"], replied["code"], replied["fault"]) == ("replied", "", "")
            assert opened["at"] <= received["at"] <= replied["at"]
            peer.sendall(b"nothing\n")
            assert event(running)["line"] == "nothing"
            assert event(running)["code"] == "bad-line"
            peer.shutdown(socket.SHUT_WR)
            while peer.recv(1000):
                pass
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.connect(("127.0.0.1", running.port))
            udp.sendall(b"u CALL nope ########################################\n")
            events = [event(running) for _ in range(3)]
        closed = next(e for e in events if e["event"] == "closed")
        assert (closed["by"], closed["how"]) == ("client", "fin")
        asked = [e for e in events if e["transport"] == "udp"]
        assert [e["event"] for e in asked] == ["received", "replied"]
        assert asked[1]["code"] == "unknown-service"
        assert rest(running) == [{"event": "stopped"}]


def test_a_slow_reader_of_events_does_not_block_the_portal() -> None:
    """A suite may read only the first line. The pipe is full before this test ends."""
    with running_server("--control") as running:
        send_pings(running, 6000)
        readable, _, _ = select.select([running.output], [], [], 30)
        assert readable
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(30) == 0, "nor the shutdown"


def test_events_without_a_reader() -> None:
    with running_server("--control") as running:
        running.output.close()
        for _ in range(3):
            with blocking.connect(running.url) as portal:
                assert portal.call("echo", "hi") == (b"hi",)
        assert running.stop() == 0
