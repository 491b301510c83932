"""Record with ``serve --record`` or ``proxy``, then ``serve --replay``."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from esps_portal import blocking
from esps_portal.protocol.errors import ClosedError, PeerError, ReplyError
from tests.cli.echo_servers import echo_server
from tests.commands import COMMAND, run, run_failing
from tests.processes import RunningServer, running_server

Answer = tuple[list[tuple[bytes, ...]], tuple[bytes, ...] | str]


def answer(portal: blocking.BlockingClient, service: str, *args: str | bytes) -> Answer:
    """Return what a call was answered with: its DATA lines, and its OK or its refusal."""
    collected: list[tuple[bytes, ...]] = []
    with portal.stream(service, *args) as rows:
        try:
            collected.extend(rows)
        except ReplyError as error:
            return collected, str(error)
        return collected, rows.result


def asked(running: RunningServer) -> list[Answer]:
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


@attrs.frozen
class Recorded:
    """What was asked of a proxy, and what it and the portal behind it have recorded."""

    answers: list[Answer]
    by_portal: Path
    by_proxy: Path


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    folder = tmp_path_factory.mktemp("recorded")
    paths = folder / "portal.jsonl", folder / "proxy.jsonl"
    with running_server("--record", str(paths[0])) as portal:
        upstream = ("--upstream", portal.url, "--record", str(paths[1]))
        with running_server(*upstream, command="proxy") as front:
            answers = asked(front)
            assert front.stop() == 0
        assert portal.stop() == 0
    return Recorded(answers, *paths)


def values(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


# ---- record and replay ------------------------------------------------------------------------


def test_a_portal_is_recorded_and_replayed(recorded: Recorded) -> None:
    with running_server("--replay", str(recorded.by_portal)) as running:
        assert asked(running) == recorded.answers
        assert running.stop() == 0


def test_a_portal_is_recorded_by_a_proxy_and_replayed(recorded: Recorded) -> None:
    assert {call["transport"] for call in values(recorded.by_proxy)[1:]} == {"tcp", "udp"}
    with running_server("--replay", str(recorded.by_proxy)) as running:
        assert asked(running) == recorded.answers


def test_a_proxy_and_a_portal_record_the_same(recorded: Recorded) -> None:
    def essence(path: Path) -> list[tuple[Any, ...]]:
        names = ("transport", "tag", "verb", "service", "args", "line", "sent", "code")
        ended = [value for value in values(path) if "sent" in value]
        return [tuple(value[name] for name in names) for value in ended]

    by_portal, by_proxy = essence(recorded.by_portal), essence(recorded.by_proxy)
    assert sorted(map(repr, by_proxy)) == sorted(map(repr, by_portal))


def test_a_replay_answers_in_order_and_repeats_the_last(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    with running_server("--record", str(path)) as running, blocking.connect(running.url) as portal:
        assert [portal.call("count") for _ in range(2)] == [(b"1",), (b"2",)]
    with running_server("--replay", str(path)) as running, blocking.connect(running.url) as portal:
        assert [portal.call("count") for _ in range(4)] == [(b"1",), (b"2",), (b"2",), (b"2",)]
        # A service that was not recorded works; other arguments of a recorded one do not match.
        assert portal.call("echo", "hi") == (b"hi",)
        with pytest.raises(ReplyError, match="unmatched"):
            portal.call("count", "other")


def test_a_portal_that_is_killed_leaves_what_it_has_answered(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    with running_server("--record", str(path)) as running, blocking.connect(running.url) as portal:
        for number in range(20):
            portal.call("echo", str(number))
        running.process.kill()
        assert running.process.wait(30) == -signal.SIGKILL
        with pytest.raises((PeerError, ClosedError)):
            portal.call("echo", "more")
    assert len([value for value in values(path) if value["event"] == "replied"]) == 20
    with path.open("ab") as file:
        file.write(b'{"event": "repl')  # as if it had been killed while writing a line
    with running_server("--replay", str(path), "--record", str(path)) as running:
        with blocking.connect(running.url) as portal:
            for number in range(20):
                assert portal.call("echo", str(number)) == (str(number).encode(),)
        assert running.stop() == 0
    assert [value["event"] for value in values(path)].count("began") == 2


def test_faults_are_recorded_and_not_replayed(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    fault = ("--fault", "garbage service=echo times=1")
    with running_server("--record", str(path), *fault) as running:
        with blocking.connect(running.url) as portal, contextlib.suppress(PeerError):
            portal.call("echo", "hi")
        assert running.stop() == 0
    (faulted,) = (value for value in values(path) if value["event"] == "faulted")
    assert (faulted["sent"], faulted["fault"][:7]) == (["c1 OK hi"], "garbage")
    with running_server("--replay", str(path)) as running, blocking.connect(running.url) as portal:
        assert portal.call("echo", "hi") == (b"hi",)


def test_run_records_and_replays(tmp_path: Path) -> None:
    path = str(tmp_path / "calls.jsonl")
    call = (COMMAND, "call", "count")
    for option in ("--record", "--replay"):
        assert run("run", option, path, "--strict", "--", *call) == (0, "1\n", "")


# ---- bad files ---------------------------------------------------------------------------------


def test_a_file_that_cannot_be_recorded_to(tmp_path: Path) -> None:
    for command in (["serve"], ["proxy", "--upstream", "esps://127.0.0.1:1"]):
        status, message = run_failing(*command, "--port", "0", "--record", "/dev/full")
        assert status == 1
        assert message == "esps-portal: cannot record to /dev/full: No space left on device"
    notes = tmp_path / "notes.txt"
    notes.write_text("mine\n")
    status, message = run_failing("serve", "--port", "0", "--record", str(notes))
    assert (status, notes.read_text()) == (1, "mine\n")
    assert message.endswith("the file exists and is not a recording")


def test_a_recording_that_is_not_complete_is_an_error_at_the_end(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with running_server("--record", str(pipe)) as running:
        with blocking.connect(running.url) as portal:
            for _ in range(30):  # nobody reads the pipe: it is full, as a disk may be
                portal.call("echo", "x" * 4000)
        assert running.stop() == 1


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("recording") / "calls.jsonl"
    with running_server("--record", str(path)) as running, blocking.connect(running.url) as portal:
        portal.call("echo", "hi")
    return path.read_text()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda text: text.replace("received", "\n", 1), "line 3: not JSON"),
        (lambda _: "", "line 1: not a recording: it is empty"),
        (lambda text: text.replace('"format":1', '"format":2'), "line 1: format: must be 1"),
        (lambda text: text.replace("OK hi", "OK " + "x" * 9000), "an answer has a line of 9007"),
    ],
)
def test_a_recording_that_cannot_be_replayed(
    tmp_path: Path, recording: str, spoil: Callable[[str], str], says: str
) -> None:
    path = tmp_path / "calls.jsonl"
    path.write_text(spoil(recording))
    status, message = run_failing("serve", "--port", "0", "--replay", str(path))
    assert status == 2
    assert says in message


def test_no_recording_at_all() -> None:
    status, message = run_failing("serve", "--port", "0", "--replay", "nowhere.jsonl")
    assert status == 2
    assert "nowhere.jsonl: No such file or directory" in message


def test_a_recording_of_another_protocol_cannot_be_replayed(tmp_path: Path) -> None:
    path = tmp_path / "units.jsonl"
    with (
        echo_server() as upstream,
        running_server("--upstream", upstream, "--record", str(path), command="proxy") as front,
    ):
        with socket.create_connection(("127.0.0.1", front.port), 30) as peer:
            peer.sendall(b"a CALL price\n")
            assert peer.recv(100) == b"OK a CALL price\n"
        assert front.stop() == 0
    for command in (["serve", "--replay", str(path)], ["run", "--replay", str(path), "true"]):
        status, message = run_failing(*command)
        assert status == 2
        assert f"'--replay': {path}: holds no call of ESPS/1 that was answered; a portal" in message
