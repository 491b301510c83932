"""Whatever a server sends, a run ends in time, in bounded memory, and prints nothing of it raw."""

from __future__ import annotations

import contextlib
import gc
import json
import socket
import socketserver
import threading
import weakref
from collections.abc import Iterator

import attrs
import pytest

from esps_portal.conformance.outcome import Outcome, Verdict
from esps_portal.conformance.registry import load_registry
from esps_portal.conformance.results import Results
from esps_portal.conformance.runner import run_vector
from esps_portal.conformance.survey import survey
from esps_portal.conformance.target import resolve
from esps_portal.conformance.traffic import Traffic
from tests.commands import run
from tests.conformance.mutants import SPEC, load_server_vectors
from tests.patience import PATIENCE


@contextlib.contextmanager
def tcp_server(handler: type[socketserver.BaseRequestHandler]) -> Iterator[int]:
    """Serve on a free port, which is returned."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def endless_server(data: bytes) -> Iterator[str]:
    """Send the same bytes again and again to every client."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            connection: socket.socket = self.request
            with contextlib.suppress(OSError):
                connection.sendall(b"* ESPS/1 tiny/1\n")
                while True:
                    connection.sendall(data * 1000)

    with tcp_server(Handler) as port:
        yield f"esps://127.0.0.1:{port}"


@pytest.mark.parametrize(
    "data",
    [b"\x1b[2J", b"a OK\n", b"\n", b"\x00\xff\r\n", b"* BYE idle\n", b"* ESPS/1 x/1\n"],
    ids=["no-lf", "replies", "empty-lines", "binary", "notices", "greetings"],
)
def test_a_server_that_never_stops(data: bytes) -> None:
    only = [part for name in ("tcp-ping", "tcp-quit", "tcp-truncate") for part in ("--only", name)]
    with endless_server(data) as url:
        code, out, err = run("conformance", "-W", "0.3", *only, url)
        assert (code, err) == (1, "")
        assert "\x1b" not in out
        assert len(out) < 20_000
        _, out, _ = run("conformance", "--json", "-W", "0.3", *only, url)
    *found, summary = map(json.loads, out.splitlines())
    assert summary["fail"] == len(found) == 6
    assert len(out) < 100_000


@pytest.mark.parametrize("digits", [12, 400], ids=["more than memory", "no float holds it"])
async def test_limits_that_nobody_has_are_not_believed(digits: int) -> None:
    """A line as long would be sent."""
    absurd = " ".join(f"{name}={'9' * digits}" for name in ("max-line", "max-in-flight", "idle"))

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                self.wfile.write(b"* ESPS/1 tiny/1\n")
                for line in self.rfile:
                    tag = line.split()[0].decode()
                    self.wfile.write(f"{tag} OK ESPS/1 tiny/1 {absurd} window=7\n".encode())

    with tcp_server(Handler) as port:
        limits = load_registry(SPEC).limits
        target = await resolve("127.0.0.1", port, frozenset({"tcp"}), limits)
        found = await survey(target, PATIENCE)
    assert found.limits == {"window": 7}


async def test_what_a_server_has_sent_is_not_kept_by_what_was_wrong_with_it() -> None:
    (vector,) = (each for each in load_server_vectors() if each.id == "tcp-ping")
    with endless_server(b"no-lf") as url:
        port = int(url.rpartition(":")[2])
        target = await resolve("127.0.0.1", port, frozenset({"tcp"}), load_registry(SPEC).limits)
        outcome = await run_vector(vector, target, reply_timeout=PATIENCE)
    assert outcome.verdict == Verdict.FAIL
    assert outcome.traffic is not None
    assert outcome.traffic.size > 500_000
    of_the_server = weakref.ref(outcome.traffic)
    outcome = attrs.evolve(outcome, traffic=None)
    gc.collect()
    assert of_the_server() is None
    assert outcome.mismatch is not None


def test_the_traffic_of_all_runs_is_bounded() -> None:
    results = Results("a server", (), keeps_traffic=True)
    for number in range(100):
        traffic = Traffic("tcp", ("127.0.0.1", 1))
        for _ in range(10):
            traffic.note("a", ("127.0.0.1", 2), "data", "server", bytes(1 << 18))
        assert len(b"".join(event.data for event in traffic.events)) <= traffic.size <= 1 << 20
        results.add(Outcome(str(number), "whole", Verdict.PASS, traffic=traffic))
    kept = [each.traffic.size for each in results.outcomes if each.traffic is not None]
    assert (1 << 25) - (1 << 20) < sum(kept) <= 1 << 25


def test_an_empty_datagram_takes_room_too() -> None:
    traffic = Traffic("udp", ("127.0.0.1", 1))
    for _ in range(10_000):
        traffic.note("a", ("127.0.0.1", 2), "data", "server", b"")
    assert 5000 < len(traffic.events) < 6000


def test_datagrams_of_somebody_else() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        url = f"esps+udp://127.0.0.1:{server.getsockname()[1]}"

        def answer() -> None:
            with contextlib.suppress(OSError):
                while True:
                    data, address = server.recvfrom(65536)
                    if data == b"stop":
                        return
                    reply = data.replace(b"PING", b"OK")
                    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
                        (other if b"OK x" in reply else server).sendto(reply, address)

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            code, out, _ = run("conformance", "-W", "0.5", "--only", "udp-ping", url)
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
                other.sendto(b"stop", server.getsockname())
            thread.join()
    assert code == 1
    assert "allowed: a datagram from 127.0.0.1 port" in out
