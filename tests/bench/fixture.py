"""``python -m tests.bench.fixture``: what a portal costs a test suite, compared with others.

Start, the cost of one test (place a stub, one call by a client that is connected anew, verify,
reset), and stop with 100 connections open, one of them in the middle of a request. The others are
measured in the same run, if they are installed, by their nearest equivalents.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import logging
import socket
import statistics
import time
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial

from esps_portal.testing import PortalController, serve_in_thread
from tests.bench.aims import Aim, Report

ROUNDS, STARTS = 200, 10
CONNECTIONS = 100
START_AIM, TEST_AIM = 3.0, 0.5  # milliseconds


def milliseconds(function: Callable[[], object]) -> float:
    began = time.perf_counter()
    function()
    return (time.perf_counter() - began) * 1000


def call(portal: PortalController) -> None:
    with socket.create_connection((portal.host, portal.port)) as peer:
        peer.sendall(b"a CALL price sku-1\n")
        answer = b""
        while answer.count(b"\n") < 2:
            answer += peer.recv(4096)
        assert answer.endswith(b"a OK 9.99\n")


def one_test(portal: PortalController) -> None:
    """Do what the fixture does around a test, and a test."""
    portal.stub("price", "sku-1").reply("9.99")
    call(portal)
    portal.verify()
    portal.reset()


def portal_costs() -> dict[str, float]:
    """Measure the portal: medians."""
    starts, tests, stops = [], [], []
    for _ in range(STARTS):
        stack = contextlib.ExitStack()
        portals: list[PortalController] = []
        start = partial(stack.enter_context, serve_in_thread())
        starts.append(milliseconds(lambda: portals.append(start())))  # noqa: B023 - called now
        (portal,) = portals
        one_test(portal)
        tests += [milliseconds(partial(one_test, portal)) for _ in range(ROUNDS // STARTS)]
        with _open_connections(portal.host, portal.port, b"a CALL ec"):
            stops.append(milliseconds(stack.close))
    named = {"start": starts, "test": tests, "stop": stops}
    return {name: statistics.median(figures) for name, figures in named.items()}


def report() -> Report:
    """Measure the portal, and return its aims."""
    costs = portal_costs()
    return Report(
        aims=[
            Aim("the fixture starts", costs["start"], START_AIM, "ms", is_limit=True),
            Aim("a test with a stub and a call", costs["test"], TEST_AIM, "ms", is_limit=True),
        ]
    )


@contextlib.contextmanager
def _open_connections(host: str, port: int, incomplete_request: bytes) -> Iterator[None]:
    with contextlib.ExitStack() as held:
        peers = [
            held.enter_context(socket.create_connection((host, port))) for _ in range(CONNECTIONS)
        ]
        peers[0].sendall(incomplete_request)
        yield


def httpserver_costs() -> dict[str, float]:
    """Measure pytest-httpserver: an expectation, a request, a check, a clear."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = importlib.import_module("pytest_httpserver").HTTPServer()

    def test() -> None:
        server.expect_oneshot_request("/price").respond_with_data("9.99")
        url = server.url_for("/price")
        with urllib.request.urlopen(url) as answer:  # noqa: S310 - our own, and http
            assert answer.read() == b"9.99"
        server.check()
        server.clear()

    costs = {"start": milliseconds(server.start)}
    test()
    costs["test"] = statistics.median(milliseconds(test) for _ in range(ROUNDS))
    # Its stop waits for a request that is under way, so there is none here.
    costs["stop"] = milliseconds(server.stop)
    return costs


def smtpd_costs() -> dict[str, float]:
    """Measure aiosmtpd's controller: a greeting and a NOOP; it has neither stubs nor checks."""
    sink = importlib.import_module("aiosmtpd.handlers").Sink()
    controller_of = importlib.import_module("aiosmtpd.controller").Controller
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    controller = controller_of(sink, hostname="127.0.0.1", port=port)

    def test() -> None:
        with socket.create_connection(("127.0.0.1", port)) as peer:
            peer.recv(1000)
            peer.sendall(b"NOOP\r\n")
            assert peer.recv(1000).startswith(b"250")

    costs = {"start": milliseconds(controller.start)}
    costs["test"] = statistics.median(milliseconds(test) for _ in range(ROUNDS))
    with _open_connections("127.0.0.1", port, b"NO"):
        costs["stop"] = milliseconds(controller.stop)
    return costs


OTHERS = {"pytest_httpserver": httpserver_costs, "aiosmtpd": smtpd_costs}


def main() -> None:
    """Measure, and print milliseconds."""
    rows = {"esps-portal": portal_costs()}
    for module, measure in OTHERS.items():
        if importlib.util.find_spec(module):
            rows[module] = measure()
    print(f"{'milliseconds':<20}{'start':>8}{'a test':>8}{'stop':>8}")
    for name, costs in rows.items():
        print(f"{name:<20}" + "".join(f"{costs[key]:8.2f}" for key in ("start", "test", "stop")))


if __name__ == "__main__":
    main()
