"""``serve --record``, ``serve --replay`` and ``proxy``: the whole circle, as a user goes it."""

from __future__ import annotations

import contextlib
import json
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from esps_portal import blocking
from esps_portal.protocol.errors import ClosedError, PeerError, ReplyError
from tests import commands
from tests.commands import COMMAND
from tests.processes import Served, served

Answer = tuple[list[tuple[bytes, ...]], tuple[bytes, ...] | str]


def answer(
    portal: blocking.TCPPortal | blocking.UDPPortal, service: str, *args: str | bytes
) -> Answer:
    """Return what a call was answered with: its DATA lines, and its OK or its refusal."""
    collected: list[tuple[bytes, ...]] = []
    with portal.stream(service, *args) as rows:
        try:
            collected.extend(rows)
        except ReplyError as error:
            return collected, str(error)
        return collected, rows.result


def asked(running: Served) -> list[Answer]:
    """Return what some calls are answered with, over either transport."""
    found = []
    for url in (running.url, f"esps+udp://127.0.0.1:{running.port}"):
        with blocking.connect(url) as portal:
            found += [
                answer(portal, "echo", b"\xff\x00", "", "ü #%"),
                answer(portal, "drip", "3", "0"),
                answer(portal, "chargen", "5", "60"),
                answer(portal, "random", "20"),
                answer(portal, "time"),
                answer(portal, "whoami"),
                *(answer(portal, "count", "x") for _ in range(3)),
                answer(portal, "fail", "x-no", b"\xfe", "why"),
                answer(portal, "nowhere", "x"),
            ]
    return found


def values(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def failed(*args: str) -> tuple[int, str]:
    code, _, said = commands.run(*args)
    assert "Traceback" not in said
    return code, said.splitlines()[-1]


# ---- the circle --------------------------------------------------------------------------------


def test_a_portal_is_recorded_and_replayed(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    with served("--record", str(path)) as running:
        before = asked(running)
        assert running.stop() == 0
    with served("--replay", str(path)) as running:
        assert asked(running) == before
        assert running.stop() == 0


def test_a_portal_is_recorded_by_a_proxy_and_replayed(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    with served() as portal:
        upstream = ("--upstream", portal.url, "--record", str(path))
        with served(*upstream, command="proxy") as front:
            before = asked(front)
            assert front.stop() == 0
        assert portal.stop() == 0
    assert {call["transport"] for call in values(path)[1:]} == {"tcp", "udp"}
    with served("--replay", str(path)) as running:
        assert asked(running) == before


def test_a_proxy_and_a_portal_record_the_same(tmp_path: Path) -> None:
    paths = tmp_path / "portal.jsonl", tmp_path / "proxy.jsonl"
    with served("--record", str(paths[0])) as portal:
        upstream = ("--upstream", portal.url, "--record", str(paths[1]))
        with served(*upstream, command="proxy") as front:
            asked(front)
            assert front.stop() == 0
        assert portal.stop() == 0

    def essence(path: Path) -> list[tuple[Any, ...]]:
        names = ("transport", "tag", "verb", "service", "args", "line", "sent", "code")
        ended = [value for value in values(path) if "sent" in value]
        return [tuple(value[name] for name in names) for value in ended]

    assert sorted(map(repr, essence(paths[1]))) == sorted(map(repr, essence(paths[0])))


def test_a_replay_answers_in_order_and_the_last_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    with served("--record", str(path)) as running, blocking.connect(running.url) as portal:
        assert [portal.call("count") for _ in range(2)] == [(b"1",), (b"2",)]
    with served("--replay", str(path)) as running, blocking.connect(running.url) as portal:
        assert [portal.call("count") for _ in range(4)] == [(b"1",), (b"2",), (b"2",), (b"2",)]
        # What was not recorded is answered as ever, and other arguments of what was are not.
        assert portal.call("echo", "hi") == (b"hi",)
        with pytest.raises(ReplyError, match="unmatched"):
            portal.call("count", "other")


def test_a_portal_that_is_killed_leaves_what_it_has_answered(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    with served("--record", str(path)) as running, blocking.connect(running.url) as portal:
        for number in range(20):
            portal.call("echo", str(number))
        running.process.kill()
        assert running.process.wait(30) == -signal.SIGKILL
        with pytest.raises((PeerError, ClosedError)):
            portal.call("echo", "more")
    assert len([value for value in values(path) if value["event"] == "replied"]) == 20
    with path.open("ab") as file:
        file.write(b'{"event": "repl')  # as if it had been in the middle of a line
    with served("--replay", str(path), "--record", str(path)) as running:
        with blocking.connect(running.url) as portal:
            for number in range(20):
                assert portal.call("echo", str(number)) == (str(number).encode(),)
        assert running.stop() == 0
    assert [value["event"] for value in values(path)].count("began") == 2


def test_faults_are_recorded_and_not_replayed(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    fault = ("--fault", "garbage service=echo times=1")
    with served("--record", str(path), *fault) as running:
        with blocking.connect(running.url) as portal, contextlib.suppress(PeerError):
            portal.call("echo", "hi")
        assert running.stop() == 0
    (faulted,) = (value for value in values(path) if value["event"] == "faulted")
    assert (faulted["sent"], faulted["fault"][:7]) == (["c1 OK hi"], "garbage")
    with served("--replay", str(path)) as running, blocking.connect(running.url) as portal:
        assert portal.call("echo", "hi") == (b"hi",)


def test_run_records_and_replays(tmp_path: Path) -> None:
    path = str(tmp_path / "calls.jsonl")
    call = (COMMAND, "call", "count")
    for option in ("--record", "--replay"):
        ran = subprocess.run(
            [COMMAND, "run", option, path, "--strict", "--", *call],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (ran.stdout, ran.returncode) == ("1\n", 0), ran.stderr


# ---- a file that will not do -------------------------------------------------------------------


def test_a_file_that_cannot_be_recorded_to(tmp_path: Path) -> None:
    for command in (["serve"], ["proxy", "--upstream", "esps://127.0.0.1:1"]):
        status, said = failed(*command, "--port", "0", "--record", "/dev/full")
        assert status == 1
        assert said == "esps-portal: cannot record to /dev/full: No space left on device"
    notes = tmp_path / "notes.txt"
    notes.write_text("mine\n")
    status, said = failed("serve", "--port", "0", "--record", str(notes))
    assert (status, notes.read_text()) == (1, "mine\n")
    assert said.endswith("it is there already, and is not a recording")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda text: text.replace("received", "\n", 1), "line 3: not JSON"),
        (lambda _: "", "line 1: no recording: there is nothing in it"),
        (lambda text: text.replace('"format":1', '"format":2'), "line 1: format: 1 is known"),
        (lambda text: text.replace("OK hi", "OK " + "x" * 9000), "an answer has a line of 9007"),
    ],
)
def test_a_recording_that_cannot_be_replayed(
    tmp_path: Path, spoil: Callable[[str], str], says: str
) -> None:
    path = tmp_path / "calls.jsonl"
    with served("--record", str(path)) as running, blocking.connect(running.url) as portal:
        portal.call("echo", "hi")
    path.write_text(spoil(path.read_text()))
    status, said = failed("serve", "--port", "0", "--replay", str(path))
    assert status == 2
    assert says in said


def test_no_recording_at_all() -> None:
    status, said = failed("serve", "--port", "0", "--replay", "nowhere.jsonl")
    assert status == 2
    assert "nowhere.jsonl: No such file or directory" in said


# ---- the proxy as a command --------------------------------------------------------------------


def test_what_passes_is_told_as_it_passes() -> None:
    with served() as portal, served("--upstream", portal.url, command="proxy") as front:
        assert front.ready["udp"] == front.ready["tcp"]
        assert (front.ready["control"], front.ready["pid"]) == (None, front.process.pid)
        with blocking.connect(front.url) as client:
            assert client.call("echo", "hi") == (b"hi",)
        front.process.send_signal(signal.SIGINT)
        events = [json.loads(line) for line in front.output]
        assert front.process.wait(30) == 0
    names = [event["event"] for event in events]
    assert names[:3] == ["opened", "received", "replied"]
    assert names[-2:] == ["closed", "stopped"]


def test_a_person_is_told_where_it_listens() -> None:
    with served() as portal:
        upstream = ("--upstream", portal.url)
        with served(*upstream, json_lines=False, command="proxy") as front:
            assert front.first_lines(3).endswith(
                f"port {front.port} (UDP)\nPress Ctrl-C to stop.\n"
            )
            assert front.stop() == 0


def test_the_proxy_stays_up_while_the_portal_is_down() -> None:
    with socket.socket() as kept:
        kept.bind(("127.0.0.1", 0))
        upstream = f"esps://127.0.0.1:{kept.getsockname()[1]}"
        with served("--upstream", upstream, command="proxy") as front:
            assert front.process.stderr is not None
            for _ in range(2):
                with pytest.raises(PeerError), blocking.connect(front.url):
                    pass
                line = front.process.stderr.readline()
                assert line.endswith(f"cannot reach {upstream}: Connection refused\n")
            assert front.stop() == 0


def test_the_proxy_stays_up_without_descriptors() -> None:
    with served() as portal, served("--upstream", portal.url, command="proxy") as front:
        pid = front.process.pid
        most = len(list(Path(f"/proc/{pid}/fd").iterdir())) + 9
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (most, most))
        with contextlib.ExitStack() as peers:
            for _ in range(12):
                # It may be reset before connect() has returned.
                with contextlib.suppress(OSError):
                    peer = socket.create_connection(("127.0.0.1", front.port), 30)
                    peers.enter_context(peer)
                    peer.shutdown(socket.SHUT_WR)  # to wait for its RST takes one more
            for _ in range(12):
                sender = peers.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                sender.sendto(b"a PING\n", ("127.0.0.1", front.port))
        deadline = time.monotonic() + 30
        while True:
            try:
                with blocking.connect(front.url) as client:
                    assert client.call("echo", "hi") == (b"hi",)
                break
            except (PeerError, ClosedError):
                assert time.monotonic() < deadline
        assert front.stop() == 0


def test_an_upstream_for_datagrams_alone() -> None:
    with served("--no-tcp") as portal:
        upstream = ("--upstream", f"esps+udp://127.0.0.1:{portal.port}")
        with served(*upstream, command="proxy") as front:
            assert front.ready["tcp"] == []
            with blocking.connect(f"esps+udp://127.0.0.1:{front.port}") as client:
                assert client.call("echo", "hi") == (b"hi",)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ([], "--upstream"),
        (["--upstream", "http://x"], "http://x"),
        (["--upstream", "esps+tls://x"], "TLS is not available in this release"),
        (["--upstream", "esps+udp://x", "--no-udp"], "neither TCP nor UDP"),
        (["--upstream", "esps://x", "--no-udp", "--no-tcp"], "neither TCP nor UDP"),
    ],
)
def test_bad_usage(args: list[str], says: str) -> None:
    status, said = failed("proxy", "--port", "0", *args)
    assert status == 2
    assert says in said


def test_a_port_that_is_taken() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port = str(held.getsockname()[1])
        status, said = failed("proxy", "--upstream", "esps://127.0.0.1:1", "--port", port)
        assert status == 1
        assert said.startswith(f"esps-portal: cannot listen on 127.0.0.1 port {port} (tcp)")
