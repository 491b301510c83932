"""How a connection was closed is a verdict of its own: FIN, RST, not at all, too early."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest

from tests.commands import run
from tests.conformance.broken_servers import Close, discard_and_close, reset, tiny_server
from tests.patience import PATIENCE


def judge(close: Close, vector: str = "tcp-linger", *options: str) -> dict[str, Any]:
    with tiny_server(close=close) as url:
        _, out, _ = run("conformance", "--json", "-W", "1", "--only", vector, *options, url)
    first: dict[str, Any] = json.loads(out.splitlines()[0])
    return first


def test_a_fin_and_then_input_is_discarded() -> None:
    outcome = judge(discard_and_close)
    assert (outcome["verdict"], outcome["close"], outcome["closed"]) == (
        "pass",
        "pass",
        {"1": "fin"},
    )


def stay_open(sock: socket.socket) -> None:
    sock.settimeout(PATIENCE)
    sock.recv(1)  # until the runner resets the connection


def close_at_once(sock: socket.socket) -> None:
    sock.shutdown(socket.SHUT_WR)


def say_more(sock: socket.socket) -> None:
    sock.sendall(b"* BYE closing\n")
    discard_and_close(sock)


def say_a_fragment(sock: socket.socket) -> None:
    sock.sendall(b"x")
    discard_and_close(sock)


@pytest.mark.parametrize(
    ("close", "came", "closed"),
    [
        (reset, "RST", "rst"),
        (stay_open, "it is still open", None),
        (close_at_once, "RST after", "fin"),
    ],
)
def test_another_close_fails(close: Close, came: str, closed: str | None) -> None:
    outcome = judge(close)
    assert (outcome["verdict"], outcome["close"]) == ("fail", "fail")
    assert outcome["mismatch"]["kind"] == "close"
    assert outcome["mismatch"]["came"].startswith(came)
    assert outcome["closed"].get("1") == closed


@pytest.mark.parametrize("close", [say_more, say_a_fragment])
def test_something_after_the_last_line_fails(close: Close) -> None:
    outcome = judge(close)
    assert (outcome["verdict"], outcome["mismatch"]["kind"]) == ("fail", "silence")
    assert outcome["close"] is None  # another failure came first


def test_a_server_that_reads_everything() -> None:
    with tiny_server(lambda reply: b"" if len(reply) > 5000 else reply) as url:
        _, out, _ = run("conformance", "--json", "--only", "tcp-does-not-read", url)
    outcome = json.loads(out.splitlines()[0])
    assert outcome["verdict"] == "fail"
    assert outcome["mismatch"]["came"] == "everything is read"
