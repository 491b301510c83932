"""``esps-portal proxy`` as a command."""

from __future__ import annotations

import contextlib
import json
import resource
import signal
import socket
import time
from pathlib import Path

import pytest

from esps_portal import blocking
from esps_portal.protocol.errors import ClosedError, PeerError
from tests.commands import run_failing
from tests.patience import until
from tests.processes import running_server


def test_each_request_is_an_event() -> None:
    with (
        running_server() as portal,
        running_server("--upstream", portal.url, command="proxy") as front,
    ):
        assert front.ready["udp"] == front.ready["tcp"]
        assert (front.ready["control"], front.ready["pid"]) == (None, front.process.pid)
        with blocking.connect(front.url) as client:
            assert client.call("echo", "hi") == (b"hi",)
        front.process.send_signal(signal.SIGINT)
        events = [json.loads(line) for line in front.output]
        assert front.process.wait(30) == 0
    names = [event["event"] for event in events]
    assert names[:3] == ["opened", "received", "replied"]
    assert names[-2:] == ["closed", "stopped"]


def test_the_addresses_are_printed() -> None:
    with running_server() as portal:
        upstream = ("--upstream", portal.url)
        with running_server(*upstream, json_lines=False, command="proxy") as front:
            assert front.first_lines(4).endswith(
                f"port {front.port} (UDP)\nrelaying to {portal.url}\nPress Ctrl-C to stop.\n"
            )
            assert front.stop() == 0


def test_the_proxy_stays_up_while_the_portal_is_down() -> None:
    with socket.socket() as kept:
        kept.bind(("127.0.0.1", 0))
        upstream = f"esps://127.0.0.1:{kept.getsockname()[1]}"
        with running_server("--upstream", upstream, command="proxy") as front:
            assert front.process.stderr is not None
            for _ in range(2):
                with pytest.raises(PeerError), blocking.connect(front.url):
                    pass
                line = front.process.stderr.readline()
                assert line.endswith(f"cannot reach {upstream}: Connection refused\n")
            assert front.stop() == 0


def descriptors(pid: int) -> set[int]:
    return {int(each.name) for each in Path(f"/proc/{pid}/fd").iterdir()}


# Clients over UDP with one of the last descriptors are forgotten after less than 5 s.
_IN_A_HURRY = "from esps_portal.proxy import flow; flow._SCARCE_WINDOW = 0.3"


@pytest.mark.parametrize("first", ["tcp", "udp"])
def test_the_proxy_stays_up_without_descriptors(first: str) -> None:
    with (
        running_server() as portal,
        running_server("--upstream", portal.url, command="proxy", before=_IN_A_HURRY) as front,
    ):
        pid = front.process.pid
        taken = descriptors(pid)  # it may have inherited one with a large number
        most = sorted(set(range(len(taken) + 9)) - taken)[8] + 1
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (most, most))
        with contextlib.ExitStack() as peers:
            senders = [
                peers.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                for _ in range(12)
            ]

            def send_datagrams() -> None:
                for sender in senders:
                    sender.sendto(b"a PING\n", ("127.0.0.1", front.port))

            def has_none_left() -> bool:
                send_datagrams()  # again and again, or it forgets those before
                return set(range(most)) <= descriptors(pid)

            if first == "udp":
                until(has_none_left)
            for _ in range(12):
                # It may be reset before connect() has returned.
                with contextlib.suppress(OSError):
                    peer = socket.create_connection(("127.0.0.1", front.port), 30)
                    peers.enter_context(peer)
                    peer.shutdown(socket.SHUT_WR)  # to wait for its RST takes one more
            if first == "tcp":
                send_datagrams()
        deadline = time.monotonic() + 30
        while True:
            try:
                with blocking.connect(front.url) as client:
                    assert client.call("echo", "hi") == (b"hi",)
                break
            except (PeerError, ClosedError):
                assert time.monotonic() < deadline
        assert front.stop() == 0


def test_an_upstream_for_datagrams_alone() -> None:
    with running_server("--no-tcp") as portal:
        upstream = ("--upstream", f"esps+udp://127.0.0.1:{portal.port}")
        with running_server(*upstream, command="proxy") as front:
            assert front.ready["tcp"] == []
            with blocking.connect(f"esps+udp://127.0.0.1:{front.port}") as client:
                assert client.call("echo", "hi") == (b"hi",)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ([], "--upstream"),
        (["--upstream", "http://x"], "http://x"),
        (["--upstream", "127.0.0.1:6379"], "does not say what is spoken there: write tcp://127."),
        (["--upstream", "tls://x"], "the port is missing"),
        (["--upstream", "udp://x:1", "--tls-self-signed"], "TLS needs TCP, which is not relayed"),
        (["--upstream", "esps+udp://x", "--no-udp"], "neither TCP nor UDP"),
        (["--upstream", "esps://x", "--no-udp", "--no-tcp"], "neither TCP nor UDP"),
    ],
)
def test_bad_usage(args: list[str], says: str) -> None:
    status, message = run_failing("proxy", "--port", "0", *args)
    assert status == 2
    assert says in message


def test_a_port_that_is_taken() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = str(listener.getsockname()[1])
        status, message = run_failing("proxy", "--upstream", "esps://127.0.0.1:1", "--port", port)
        assert status == 1
        assert message.startswith(f"esps-portal: cannot listen on 127.0.0.1 port {port} (tcp)")
