"""What works without the parts that other systems lack. Nothing here was run on those systems."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from http import HTTPStatus
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_SUITE = Path(__file__).parent / "suites/fixtures.py"
_PYTEST = ("-q", "-c", os.devnull, "--noconftest", "--capture=sys", "-Werror")
_PLUGINS = ("-pno:cacheprovider", "-pesps_portal.testing.plugin")
# Its own plugin is named: others that are installed here read what is missing while they load.
_ENVIRONMENT = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(_ROOT)}

pytestmark = [pytest.mark.heavy, pytest.mark.parametrize("system", ["macos", "windows"])]


def _start(system: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.systems.lacking", system, *arguments],
        cwd=_ROOT,
        env=_ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _run(system: str, *arguments: str) -> tuple[int, str, str]:
    process = _start(system, *arguments)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_fixtures_and_clients(system: str) -> None:
    code, out, err = _run(system, "pytest", *_PYTEST, *_PLUGINS, str(_SUITE))
    assert code == 0, out + err


def test_run(system: str) -> None:
    script = "import os; print(bool(os.environ['ESPS_PORTAL_URL'])); raise SystemExit(7)"
    code, out, err = _run(system, "esps_portal", "run", "--", sys.executable, "-c", script)
    assert (code, out) == (7, "True\n"), err


def test_commands(system: str, tmp_path: Path) -> None:
    recording = tmp_path / "calls.jsonl"
    options = ("--port", "0", "--json", "--record", str(recording), "--control", "127.0.0.1:0")
    with _start(system, "esps_portal", "serve", *options) as serving:
        try:
            assert serving.stdout is not None
            ready = json.loads(serving.stdout.readline() or "{}")
            url = f"esps://127.0.0.1:{ready['tcp'][0][1]}"
            called = _start(system, "esps_portal", "call", "--url", url, "echo", "there")
            pinged = _run(
                system, "esps_portal", "ping", "-c", "1", url.replace("esps:", "esps+udp:")
            )
            assert pinged[0] == 0, pinged
            assert called.communicate(timeout=60) == ("there\n", "")
            host, port = ready["control"].removeprefix("http://").split(":")
            control = http.client.HTTPConnection(host, int(port), timeout=10)
            control.request("GET", "/version")
            assert control.getresponse().status == HTTPStatus.OK
            control.close()
        finally:
            serving.send_signal(signal.SIGINT)
        assert serving.stderr is not None
        logged = serving.stderr.read().splitlines()
        assert [line.partition("esps_portal: ")[2] for line in logged] == ["SIGINT: closing"]
    assert serving.returncode == 0
    assert "echo" in recording.read_text(encoding="utf-8")
