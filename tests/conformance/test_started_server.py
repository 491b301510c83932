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
    assert summary["target"].endswith("{limits}'")
    failed = {o["vector"] for o in found if o["verdict"] != "pass"}
    assert (code == 0) == (not failed)
    # Some measure times: on a machine that is busy they may fail, and alone they do not.
    for vector in failed:
        only = ["conformance", "-W", "30", "--only", vector]
        assert run(*only, "--server", "--", *SERVE, "{limits}")[0] == 0, vector


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


def test_limits_from_the_environment() -> None:
    script = (
        "import os, sys;"
        "pairs = os.environ['ESPS_CONFORMANCE_LIMITS'].split();"
        "limits = [part for pair in pairs for part in ('--limit', pair)];"
        "os.execv(sys.argv[1], [*sys.argv[1:], *limits])"
    )
    command = [sys.executable, "-c", script, *SERVE]
    only = ["--only", "tcp-limits-announced", "--only", "tcp-ping"]
    for option, verdict in (["--limits-env"], "pass"), ([], "unsupported"):
        code, out, _ = run("conformance", "--json", *only, "--server", *option, "--", *command)
        found = [json.loads(line) for line in out.splitlines()[:-1]]
        assert code == 0
        assert {o["verdict"] for o in found if o["vector"] == "tcp-ping"} == {"pass"}
        assert {o["verdict"] for o in found if o["vector"] != "tcp-ping"} == {verdict}


def test_a_server_that_does_not_listen() -> None:
    command = [sys.executable, "-c", "", "{port}"]
    code, out, _ = run("conformance", "--only", "tcp-ping", "--server", "--", *command)
    assert code == 1
    assert "it ended with status 0" in out
