"""The arguments of ``esps-portal call``, from the command line and from standard input."""

from __future__ import annotations

import json

import pytest

from esps_portal.testing.threaded_portal import ThreadedPortal
from tests.commands import run, run_redirected


def test_arguments_are_bytes(portal: ThreadedPortal) -> None:
    assert run("call", "echo", b"\xff", url=portal.url) == (0, "\\xff\n", "")
    code, out, _ = run("call", "--json", "echo", b"a\xff", "é", url=portal.url)
    assert (code, json.loads(out)) == (0, {"type": "ok", "args": [{"b64": "Yf8="}, "é"]})


@pytest.mark.parametrize("command", ["call", "list"])
def test_a_service_is_text(portal: ThreadedPortal, command: str) -> None:
    code, out, err = run(command, b"\xff", url=portal.url)
    assert (code, out) == (2, "")
    assert err.startswith(f"esps-portal {command}: Invalid value for ")
    assert err.endswith(f" '\\udcff' is not UTF-8 text; see esps-portal {command} --help\n")


def test_standard_input_is_closed(portal: ThreadedPortal) -> None:
    message = "esps-portal: cannot read the argument -: standard input is closed\n"
    assert run_redirected("<&-", "call", "echo", "-", url=portal.url) == (1, "", message)
    assert run_redirected("<&-", "call", "echo", "x", url=portal.url) == (0, "x\n", "")


def test_standard_input_cannot_be_read(portal: ThreadedPortal) -> None:
    message = "esps-portal: cannot read the argument -: Bad file descriptor\n"
    ended = run_redirected("0>/dev/null", "call", "echo", "-", url=portal.url)
    assert ended == (1, "", message)


def test_an_empty_service_name_is_sent(portal: ThreadedPortal) -> None:
    code, out, err = run("list", "", url=portal.url)
    assert (code, out) == (1, "")
    assert err.startswith("unknown-service")


def test_a_request_that_is_too_long(portal: ThreadedPortal) -> None:
    code, out, err = run("call", "echo", "x" * 9000, url=portal.url)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "the request must be at most 8192 bytes, got 9014" in err
    code, out, err = run("call", "echo", "-", url=portal.url, stdin=b"x" * 1_000_000)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "the request must be at most 8192 bytes, got at least 8" in err
    whole = "x" * (8192 - len("c1 CALL echo \n"))
    assert run("call", "echo", "-", url=portal.url, stdin=whole.encode()) == (0, f"{whole}\n", "")
