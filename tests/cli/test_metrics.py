"""``serve --metrics``: what Prometheus reads, and a balancer's look at the health."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from esps_portal import blocking
from esps_portal.protocol.errors import PeerError, ReplyError
from tests.commands import run
from tests.processes import RunningServer, running_server
from tests.sockets import ask_once


def metrics_url(running: RunningServer) -> str:
    return str(running.ready["metrics"])


def read(url: str) -> str:
    with urlopen(url, timeout=30) as answer:  # noqa: S310 - the test's own server
        return str(answer.read().decode())


def health_of(running: RunningServer) -> tuple[int, bytes]:
    try:
        with urlopen(metrics_url(running).replace("/metrics", "/healthz"), timeout=30) as answer:  # noqa: S310 - as above
            return answer.status, answer.read()
    except HTTPError as error:
        with error:
            return error.code, error.read()


def value(text: str, series: str) -> float:
    """Return the value of a series; 0 where there is none."""
    found = re.search(rf"(?m)^{re.escape(series)} (\S+)$", text)
    return float(found[1]) if found else 0.0


def test_what_happens_is_counted(tool: Callable[[str], str]) -> None:
    options = ("--metrics", "0", "--fault", "reset service=count times=1")
    with running_server(*options) as running:
        with blocking.connect(running.url) as portal:
            portal.call("echo", "hi")
            with pytest.raises(ReplyError):
                portal.call("no-such-service")
            text = read(metrics_url(running))
            assert value(text, "esps_portal_connections") == 1
        assert ask_once(running.port, b"a CALL echo hi\n") == b"a OK hi\n"
        with pytest.raises(PeerError), blocking.connect(running.url) as portal:
            portal.call("count")
        text = read(metrics_url(running))

    def counted(**changed: str) -> float:
        labels = {"code": "OK", "service": "echo", "transport": "tcp", "verb": "CALL"} | changed
        named = ",".join(f'{name}="{label}"' for name, label in labels.items())
        return value(text, f"esps_portal_requests_total{{{named}}}")

    assert counted() == counted(transport="udp") == 1
    assert counted(service="unknown", code="unknown-service") == 1
    assert value(text, "esps_portal_connections_total") == 2
    assert value(text, 'esps_portal_faults_total{fault="reset"}') == 1
    assert value(text, 'esps_portal_bytes_total{direction="received",transport="udp"}') > 10
    assert value(text, "process_open_fds") > 3
    checked = subprocess.run(
        [tool("promtool"), "check", "metrics"],
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_it_is_healthy_until_it_closes() -> None:
    with running_server("--metrics", "127.0.0.1:0") as running:
        assert health_of(running) == (200, b"ok\n")
        with blocking.connect(running.url) as portal, portal.stream("drip", "50", "100") as lines:
            next(iter(lines))  # a call runs, for which it waits
            running.process.terminate()
            while True:
                status, body = health_of(running)
                if status != 200:  # the signal has come
                    break
            assert (status, body) == (503, b"closing\n")
        assert running.process.wait(30) == 0


def test_a_person_reads_where_the_metrics_are() -> None:
    with running_server("--metrics", "0", json_lines=False) as running:
        lines = running.first_lines(4).splitlines()
        assert read(lines[2].removeprefix("metrics on ")).startswith("# HELP ")


def test_a_port_that_is_taken_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, out, err = run("serve", "--port", "0", "--metrics", str(port))
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert f"cannot listen on 127.0.0.1 port {port} (tcp): Address already in use" in err
    assert "try another --metrics, or --metrics 0" in err


@pytest.mark.parametrize("address", ["", "x", "localhost", "1:65536", "::1:9", "a b:9", "-1"])
def test_a_bad_address_is_one_line(address: str) -> None:
    code, out, err = run("serve", "--metrics", address)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "--metrics" in err


def test_an_ipv6_address() -> None:
    with running_server("--metrics", "[::1]:0") as running:
        assert metrics_url(running).startswith("http://[::1]:")
        assert read(metrics_url(running))


def test_without_the_library_it_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['prometheus_client'] = None; from esps_portal.cli import main;"
        " main(['serve', '--port', '0', '--metrics', '0'], prog_name='esps-portal')"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == (
        "esps-portal: --metrics needs prometheus-client; install it with"
        " pip install 'esps-portal[metrics]'\n"
    )


def test_nothing_is_observed_or_imported_without_it() -> None:
    code = (
        "import sys; from esps_portal.cli import main\n"
        "def ended(): print([m for m in ('h11', 'prometheus_client') if m in sys.modules])\n"
        "import atexit; atexit.register(ended)\n"
        "main(['serve', '--port', '0', '--json', '--no-access-log'], prog_name='esps-portal')"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert "metrics" not in json.loads(process.stdout.readline())
            process.terminate()
            assert process.stdout.read().splitlines()[-1] == "[]"
        finally:
            process.kill()
