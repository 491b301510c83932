"""``esps-portal conformance --server``: servers that the runner starts and ends."""

from __future__ import annotations

import json
import sys

from tests.commands import COMMAND, run

SERVE = [COMMAND, "serve", "--port", "{port}"]


def test_our_server_with_every_limit() -> None:
    code, out, _ = run("conformance", "--json", "-W", "30", "--server", "--", *SERVE, "{limits}")
    *found, summary = map(json.loads, out.splitlines())
    assert len(found) > 400
    assert [o for o in found if o["verdict"] != "pass"] == []
    assert code == 0
    assert summary["target"].endswith("{limits}'")


def test_a_command_that_ends() -> None:
    script = "import sys; sys.exit('no \x1b port ' + sys.argv[1])"
    command = [sys.executable, "-c", script, "{port}"]
    code, out, _ = run("conformance", "--only", "tcp-ping", "--server", "--", *command)
    assert code == 1
    assert r"the server cannot be started: it ended with status 1: no \x1b port" in out


def test_no_such_command() -> None:
    code, out, _ = run("conformance", "--only", "tcp-ping", "--server", "--", "no-such", "{port}")
    assert code == 1
    assert "the server cannot be started: " in out
    assert "No such file or directory" in out
