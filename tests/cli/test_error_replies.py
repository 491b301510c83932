"""Error replies of a portal: one line, one JSON object, and exit code 1."""

from __future__ import annotations

import json

from esps_portal.testing.threaded_portal import ThreadedPortal
from tests.commands import run


def test_an_error_reply_is_one_line_and_exit_1(portal: ThreadedPortal) -> None:
    ran = run("call", "fail", "x-shop", "sold out", url=portal.url)
    assert ran == (1, "", "x-shop sold out\n")


def test_an_unknown_service_says_how_to_see_the_known_ones(portal: ThreadedPortal) -> None:
    code, _, err = run("call", "ecko", url=portal.url)
    assert code == 1
    assert err.startswith("unknown-service ")
    assert err.endswith("; esps-portal list shows the services\n")


def test_an_error_reply_as_json(portal: ThreadedPortal) -> None:
    code, out, err = run("call", "--json", "fail", "busy", "come", "again", url=portal.url)
    assert (code, err) == (1, "busy come again\n")
    assert out == '{"error": "busy", "message": "come again"}\n'
    code, out, err = run("list", "--json", "nope", url=portal.url)
    assert (code, json.loads(out)["error"]) == (1, "unknown-service")


def test_an_error_reply_is_escaped(portal: ThreadedPortal) -> None:
    code, out, err = run("call", "--json", "fail", "x-mine", "\x1b[2J\r\n", b"\xff", url=portal.url)
    assert (code, err) == (1, "x-mine \\x1b[2J\\r\\n \\xff\n")
    assert json.loads(out) == {"error": "x-mine", "message": "\x1b[2J\r\n \\xff"}


def test_a_reply_that_is_too_long_for_udp(portal: ThreadedPortal) -> None:
    code, out, err = run("call", "drip", "300", "0", url=f"esps+udp://127.0.0.1:{portal.port}")
    assert (code, out) == (1, "")
    assert err == f"too-large 0 use-tcp; use TCP: --url esps://127.0.0.1:{portal.port}\n"
