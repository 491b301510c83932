"""``serve`` with a scenario, with faults, with a control port, and with events."""

from __future__ import annotations

import json
import select
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from esps_portal import blocking
from esps_portal.protocol.errors import PeerError, ReplyError
from tests import commands
from tests.processes import Served, served


def control_of(running: Served) -> str:
    address = running.ready["control"]
    assert isinstance(address, list)
    host, port = address
    assert host == "127.0.0.1"
    return f"esps://{host}:{port}"


def event(running: Served) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(running.output.readline())
    return found


def rest(running: Served) -> list[Any]:
    """Stop it, and return the events that were left."""
    running.process.send_signal(signal.SIGTERM)
    events = [json.loads(line) for line in running.output]
    assert running.process.wait(30) == 0
    return events


def usage_error(*args: str) -> str:
    code, _, said = commands.run("serve", "--port", "0", *args)
    assert code == 2
    assert "Traceback" not in said
    return said.splitlines()[-1]


# ---- control -----------------------------------------------------------------------------------


def test_a_control_port() -> None:
    with served("--control") as running:
        with blocking.connect(control_of(running)) as control:
            control.call("stub", '{"service": "price", "reply": "9.99"}')
            with blocking.connect(running.url) as portal:
                assert portal.call("price") == (b"9.99",)
            with control.stream("calls") as rows:
                (row,) = rows
            assert json.loads(row[0])["service"] == "price"
            control.call("down", '{"down": true}')
            with pytest.raises(ConnectionRefusedError), socket.socket() as peer:
                peer.connect(("127.0.0.1", running.port))
            control.call("down", '{"down": false}')
            with blocking.connect(running.url) as portal:
                assert portal.call("price") == (b"9.99",)
        assert running.stop() == 0


def test_a_control_port_of_a_given_number() -> None:
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        number = held.getsockname()[1]
        held.listen()
        code, _, said = commands.run("serve", "--port", "0", "--control", str(number))
    assert code == 1
    assert said.startswith(f"esps-portal: cannot listen on 127.0.0.1 port {number} (tcp)")
    assert said.endswith("try another --control, or --control 0\n")
    assert len(said.splitlines()) == 1


def test_a_person_is_told_where_control_is() -> None:
    with served("--control", "0", json_lines=False) as running:
        *_, line, _ = running.first_lines(4).splitlines()
        number = int(line.removeprefix("control on 127.0.0.1 port "))
        with blocking.connect(f"esps://127.0.0.1:{number}") as control:
            assert "stub" in control.services()


def test_the_portal_ends_though_control_is_in_use() -> None:
    with served("--control") as running, blocking.connect(control_of(running)) as control:
        control.ping()
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(30) == 0


# ---- scenario and faults -----------------------------------------------------------------------


def test_a_scenario_and_faults(tmp_path: Path) -> None:
    path = tmp_path / "shop.toml"
    path.write_text('limits = {max-line = 600}\nstubs = [{service = "price", reply = "9.99"}]')
    fault = "reset service=price when=before request=2,3"
    with served("--scenario", str(path), "--fault", fault) as running:
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


def test_it_never_judges() -> None:
    with served("--fault", "reset service=nosuchservice") as running:
        with blocking.connect(running.url) as portal:
            portal.call("echo")
        running.process.terminate()
        assert running.process.wait(30) == 0
        assert running.process.stderr is not None
        assert "fault" not in running.process.stderr.read()


def test_a_seed_is_an_event_or_in_the_log() -> None:
    with served("--fault", "garbage chance=0.25 when=before") as running:
        told = event(running)
        assert told["event"] == "fault"
        assert f"seed={told['seed']}" in told["fault"]
    with served("--fault", "latency seconds=0.1 chance=0.25 seed=8", json_lines=False) as running:
        assert running.process.stderr is not None
        line = running.process.stderr.readline()
        assert line.endswith("fault by chance: latency seconds=0.1 jitter=0.0 chance=0.25 seed=8\n")


def test_a_fault_of_the_control_port_tells_its_seed_too() -> None:
    with served("--control") as running, blocking.connect(control_of(running)) as control:
        with control.stream("fault", '{"fault": "reset", "chance": 0}') as rows:
            (row,) = rows
        assert event(running)["seed"] == json.loads(row[0])["seed"]


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--fault", "rest"], "unknown fault 'rest'; did you mean 'reset'?"),
        (["--fault", ""], "unknown fault ''"),
        (["--fault", "reset now"], "'now': a fault is its name, then key=value, each once"),
        (["--fault", "reset times=1 times=2"], "'times=2': a fault is its name"),
        (["--fault", "reset times=x"], "times must be a positive integer, got 'x'"),
        (["--fault", "reset servic=echo"], "has no parameter 'servic'; did you mean 'service'?"),
        (["--fault", "reset seconds=1"], "fault 'reset' has no parameter 'seconds'"),
        (["--fault", "reset optional=yes"], 'optional: true or false, not "yes"'),
        (["--fault", "latency"], "fault 'latency' needs seconds"),
        (["--scenario", "nowhere.toml"], "nowhere.toml: No such file or directory"),
        (["--control", "x"], "'x'"),
        (["--control", "65536"], "65536"),
    ],
)
def test_bad_usage(args: list[str], says: str) -> None:
    assert says in usage_error(*args)


@pytest.mark.parametrize(
    ("octets", "says"),
    [
        (b"stubs = [{}]", "stubs[0].service: this key is needed"),
        (b"[[stubs]\n", "not TOML: "),
        (b"\xff", "no text in UTF-8"),
        (
            b'limits={max-line=512}\nstubs=[{service="a",reply="' + b"x" * 600 + b'"}]',
            "stubs[0]: thi",
        ),
    ],
)
def test_a_bad_scenario(tmp_path: Path, octets: bytes, says: str) -> None:
    path = tmp_path / "shop.toml"
    path.write_bytes(octets)
    assert says in usage_error("--scenario", str(path))


# ---- events ------------------------------------------------------------------------------------


def test_what_happens_is_told_as_it_happens() -> None:
    with served("--control") as running:
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


def test_a_portal_waits_for_no_reader_of_its_events() -> None:
    """A suite may read the first line and no more. The pipe is full long before this ends."""
    with served("--control") as running:
        with socket.create_connection(("127.0.0.1", running.port), timeout=30) as peer:
            lines = peer.makefile("rb")
            assert lines.readline().startswith(b"* ESPS/1 ")
            for _ in range(30):
                peer.sendall(b"a PING\n" * 200)
                for _ in range(200):
                    assert lines.readline() == b"a OK\n"
            lines.close()
        readable, _, _ = select.select([running.output], [], [], 30)
        assert readable
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(30) == 0, "nor does its end"


def test_events_for_a_reader_that_has_gone() -> None:
    with served("--control") as running:
        running.output.close()
        for _ in range(3):
            with blocking.connect(running.url) as portal:
                assert portal.call("echo", "hi") == (b"hi",)
        assert running.stop() == 0
