"""``esps-portal conformance --server``: servers that the runner starts and ends."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import attrs
import pytest
import trio

from esps_portal.conformance.registry import load_registry
from esps_portal.conformance.target import Target, resolve
from tests.commands import COMMAND, run
from tests.conformance.mutants import SPEC
from tests.conformance.shared_servers import failures
from tests.processes import running_server

SERVE = [COMMAND, "serve", "--port", "{port}"]
DEFAULTS = load_registry(SPEC).limits
# One needs limits, and the other ends its server.
SAMPLE = ("udp-in-flight", "tcp-shutdown-drain-ends")


@contextlib.asynccontextmanager
async def our_server(limits: Mapping[str, float]) -> AsyncIterator[Target]:
    """Fork it: the runner would have to start Python, and import everything, 40 times."""
    options = [word for name, value in limits.items() for word in ("--limit", f"{name}={value:g}")]
    with contextlib.ExitStack() as stack:
        running = running_server(*options, "--no-access-log")
        server = await trio.to_thread.run_sync(stack.enter_context, running)
        target = await resolve(
            "127.0.0.1", server.port, frozenset({"tcp", "udp"}), {**DEFAULTS, **limits}
        )
        yield attrs.evolve(target, process=server.process.pid)
        await trio.to_thread.run_sync(stack.close)


@pytest.mark.heavy
async def test_our_server_with_every_limit() -> None:
    assert await failures(our_server) == []


@pytest.mark.heavy
def test_limits_as_options() -> None:
    only = [part for name in SAMPLE for part in ("--only", name)]
    command = ["--server", "--", *SERVE, "{limits}"]
    code, out, _ = run("conformance", "--json", "-W", "30", *only, *command)
    *found, summary = map(json.loads, out.splitlines())
    assert summary["target"].endswith("{limits}'")
    assert {o["vector"]: o["verdict"] for o in found} == dict.fromkeys(SAMPLE, "pass")
    assert code == 0


def test_a_command_that_ends() -> None:
    script = "import sys; sys.exit('no \x1b port ' + sys.argv[1])"
    command = [sys.executable, "-c", script, "{port}"]
    code, out, _ = run("conformance", "--only", "tcp-ping", "--server", "--", *command)
    assert code == 1
    assert r"the server cannot be started: it ended with status 1: no \x1b port" in out


def test_no_such_command() -> None:
    code, out, err = run("conformance", "--server", "--", "no-such", "{port}")
    assert (code, out, err) == (1, "", "esps-portal: no-such: not found\n")


def test_a_command_that_cannot_be_run(tmp_path: Path) -> None:
    program = tmp_path / "server"
    program.write_text("#!/no/such/interpreter\n")
    program.chmod(0o755)
    command = [str(program), "{port}"]
    code, out, _ = run("conformance", "--only", "tcp-ping", "--server", "--", *command)
    assert code == 1
    assert "the server cannot be started: " in out
    assert "No such file or directory" in out


@pytest.mark.heavy
def test_limits_from_the_environment() -> None:
    script = (
        "import os, sys;"
        "pairs = os.environ['ESPS_CONFORMANCE_LIMITS'].split();"
        "limits = [part for pair in pairs for part in ('--limit', pair)];"
        "from esps_portal.cli import main;"
        "main([*sys.argv[1:], *limits])"
    )
    command = [sys.executable, "-c", script, *SERVE[1:]]
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
