"""``--log-format json``: every line of standard error is an object, coherent with the events."""

from __future__ import annotations

import json
import logging
import re
import socket
from typing import Any

import pytest

from esps_portal import blocking
from esps_portal.cli.log_format import JsonLog, with_values
from esps_portal.journal.journal import Journal
from esps_portal.journal.records import ABORTED, REPLIED
from esps_portal.product import PRODUCT
from esps_portal.protocol.messages import readable_request
from esps_portal.testing.threaded_portal import ThreadedPortal
from tests.processes import RunningServer, running_server
from tests.sockets import ask_once

HEAD = {"time", "level", "logger"}


def log_of(running: RunningServer) -> list[dict[str, Any]]:
    return [json.loads(line) for line in running.stop_and_read_log()]


def requests_of(running: RunningServer) -> list[dict[str, Any]]:
    return [line for line in log_of(running) if line["logger"] == "esps_portal.access"]


def test_each_line_is_an_object_with_the_keys_of_the_event() -> None:
    with running_server("--access-log", "--log-format", "json") as running:  # with --json
        with blocking.connect(running.url) as portal:
            portal.call("echo", "a b")
        assert ask_once(running.port, b"a PING\n") == b"a OK\n"
        lines = requests_of(running)
        events = [json.loads(line) for line in running.output]
    ended = [event for event in events if event["event"] == "replied"]
    own = HEAD | {"request", "ms"}
    assert [{k: v for k, v in line.items() if k not in own} for line in lines] == ended
    assert [line["request"] for line in lines if line["verb"] != "QUIT"] == [
        "CALL echo a%20b",
        "PING",
    ]
    for line in lines:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
        assert line["level"] == "info"
        assert 0 <= line["ms"] < 30_000


def test_the_log_of_the_program_and_a_random_fault() -> None:
    options = ("--log-format", "json", "--fault", "reset chance=0.5 seed=7")
    with running_server(*options, json_lines=False) as running:
        fault, closing = log_of(running)
    assert set(fault) >= HEAD
    assert (fault["event"], fault["fault"], fault["seed"]) == (
        "fault",
        "reset chance=0.5 seed=7",
        7,
    )
    assert set(closing) == HEAD | {"message"}
    assert (closing["level"], closing["logger"]) == ("info", "esps_portal")
    assert closing["message"] == "SIGTERM: closing"


def test_a_proxy(portal: ThreadedPortal) -> None:
    options = ("--upstream", f"tcp://{portal.host}:{portal.port}", "--access-log")
    with running_server(*options, "--log-format", "json", command="proxy") as running:
        with socket.create_connection(("127.0.0.1", running.port), timeout=30) as peer:
            peer.recv(100)
            peer.sendall(b"a PING\n")
            assert peer.recv(100) == b"a OK\n"
        lines = requests_of(running)
    assert [(line["exchange"], line["request"], line["reply_size"]) for line in lines] == [
        (0, "", len(f"* ESPS/1 {PRODUCT}\n")),
        (1, "a PING\\n", len("a OK\n")),
    ]


@pytest.mark.parametrize("data", [b"\x1b[2J\x9b\xff\xe2\x80\xae", b"a" * 8000, b'"\\', b""])
def test_what_a_client_sends_is_escaped_and_limited(data: bytes) -> None:
    written: list[bytes] = []
    journal = Journal()
    journal.sinks.append(JsonLog().access_log(written.append, 0))
    call = journal.received("tcp", ("127.0.0.1", 5), None, data, readable_request(data), 0)
    journal.ended(call, ABORTED, b"a ERR " + b"\x1b[2J" * 1000, 1)
    (line,) = written
    assert all(0x20 <= byte <= 0x7E for byte in line[:-1])
    assert line.endswith(b"}\n")
    assert len(json.loads(line)["request"]) <= 200


def test_what_is_no_line_of_text_is_none_of_json() -> None:
    """A connection with requests is not told of; one without is, once."""
    written: list[bytes] = []
    journal = Journal()
    journal.sinks.append(JsonLog().access_log(written.append, 0))
    for with_request in (True, False):
        record = journal.opened(("127.0.0.1", 5), 0)
        if with_request:
            request = readable_request(b"a PING")
            call = journal.received("tcp", record.remote, record, b"a PING", request, 1)
            journal.ended(call, REPLIED, b"a OK\n", 1.5)
        journal.closed(record, "client", "fin", 2.0)
    seen = [json.loads(line) for line in written]
    assert [(line["event"], line["request"], line["ms"]) for line in seen] == [
        ("replied", "PING", 500.0),
        ("closed", "", 2000.0),
    ]


def test_a_traceback_is_in_the_object() -> None:
    formatter = JsonLog().formatter
    with pytest.raises(ValueError, match="invalid literal") as caught:
        int("x")
    info = caught.type, caught.value, caught.tb
    record = logging.LogRecord("esps_portal", logging.ERROR, __file__, 1, "x %s", ("y",), info)
    record.__dict__.update(with_values(event="e"))
    text = formatter.format(record)
    assert "\n" not in text
    values = json.loads(text)
    assert (values["message"], values["event"], values["level"]) == ("x y", "e", "error")
    assert values["exception"].endswith("invalid literal for int() with base 10: 'x'")


def test_dropped_lines_are_counted_as_the_events_do() -> None:
    values = json.loads(JsonLog().dropped(3))
    assert (values["event"], values["count"]) == ("lost", 3)
