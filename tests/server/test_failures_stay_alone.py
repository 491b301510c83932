"""What a service, a predicate or a log handler of the program raises ends nothing but itself.

sys.exit(), pytest.fail(), asyncio.CancelledError and GeneratorExit are no `Exception`.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Self
from unittest import mock

import pytest
import trio

from esps_portal import ReplyError, blocking
from esps_portal.testing import ANY, PortalController
from tests.patience import PATIENCE
from tests.sockets import connected


def leave() -> None:
    sys.exit(3)


def fail() -> None:
    pytest.fail("wrong")


def cancel() -> None:
    raise asyncio.CancelledError


def close_generator() -> None:
    raise GeneratorExit


def fail_in_a_group() -> None:
    raise BaseExceptionGroup("both", [SystemExit(1), GeneratorExit()])


failures = pytest.mark.parametrize(
    "failure", [leave, fail, cancel, close_generator, fail_in_a_group], ids=lambda f: f.__name__
)


@pytest.fixture(params=["tcp", "udp"])
def client(
    request: pytest.FixtureRequest, portal: PortalController
) -> Iterator[blocking.BlockingClient]:
    url = portal.url if request.param == "tcp" else portal.udp_url
    with blocking.connect(url, timeout=30) as client:
        yield client


def assert_fails_alone(portal: PortalController, client: blocking.BlockingClient) -> None:
    with pytest.raises(ReplyError) as raised:
        client.call("fails")
    assert raised.value.code == "failed"
    assert client.call("echo", "x") == (b"x",)
    (problem,) = portal.problems()
    assert problem.startswith("service fails failed:")


@failures
def test_a_sync_service(
    portal: PortalController, client: blocking.BlockingClient, failure: Callable[[], None]
) -> None:
    @portal.service
    def fails() -> None:
        failure()

    assert_fails_alone(portal, client)


@failures
def test_an_async_service(
    portal: PortalController, client: blocking.BlockingClient, failure: Callable[[], None]
) -> None:
    @portal.service
    async def fails() -> None:
        await trio.lowlevel.checkpoint()
        failure()

    assert_fails_alone(portal, client)


@failures
def test_an_async_service_with_a_nursery(
    portal: PortalController, client: blocking.BlockingClient, failure: Callable[[], None]
) -> None:
    async def soon() -> None:
        await trio.lowlevel.checkpoint()
        failure()

    @portal.service
    async def fails() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(soon)
            nursery.start_soon(trio.sleep_forever)

    assert_fails_alone(portal, client)


@failures
def test_a_predicate_of_a_stub(
    portal: PortalController, client: blocking.BlockingClient, failure: Callable[[], None]
) -> None:
    def refuses(_: bytes) -> bool:
        failure()
        return True

    portal.stub("price", refuses).reply("1").optional()
    portal.stub("other", ANY).reply("2")
    with pytest.raises(ReplyError) as raised:
        client.call("price", "x")
    assert raised.value.code == "unmatched"
    assert client.call("other", "x") == (b"2",)


@failures
def test_a_predicate_of_a_fault(
    portal: PortalController, client: blocking.BlockingClient, failure: Callable[[], None]
) -> None:
    def refuses(_: bytes) -> bool:
        failure()
        return True

    portal.fault(
        "delay" if "udp" in repr(client) else "latency", seconds=1, match=refuses
    ).optional()
    assert client.call("echo", "x") == (b"x",)
    assert "the predicate of fault" in portal.problems()[0]


def test_a_cancelled_service_is_no_failure(portal: PortalController) -> None:
    @portal.service
    async def waits() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)

    with connected(portal) as client:
        client.send(b"a CALL waits\n")
        portal.wait_for("waits", timeout=PATIENCE)
        client.send(b"b CANCEL a\n")
        assert sorted(line.split()[1] for line in client.lines(2)) == [b"ERR", b"OK"]
    assert portal.problems() == []


class FailingHandler(logging.Handler):
    def __init__(self, failure: Callable[[], None]) -> None:
        super().__init__()
        self._failure = failure

    def emit(self, record: logging.LogRecord) -> None:  # noqa: ARG002 - logging calls it so
        self._failure()


@failures
def test_a_handler_of_the_log(
    portal: PortalController,
    client: blocking.BlockingClient,
    failure: Callable[[], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    logger, handler = logging.getLogger("esps_portal"), FailingHandler(failure)

    @portal.service
    def fails() -> None:
        raise ValueError

    logger.addHandler(handler)
    try:
        assert_fails_alone(portal, client)
    finally:
        logger.removeHandler(handler)
    assert "Traceback" in capsys.readouterr().err


class RefusedSocket(socket.socket):
    def __new__(cls, *_: object, **__: object) -> Self:
        raise RuntimeError("a test should not use the network")


@pytest.mark.parametrize("replacement", [RefusedSocket, mock.MagicMock()], ids=["class", "mock"])
def test_accepting_while_a_test_has_replaced_the_socket(
    portal: PortalController, replacement: object
) -> None:
    early = socket.socket()
    with early, mock.patch("socket.socket", replacement):
        early.settimeout(30)
        early.connect((portal.host, portal.port))
        assert early.recv(100).startswith(b"* ESPS/1 ")
    with connected(portal) as client:
        client.send(b"a PING\n")
        assert client.line() == b"a OK\n"
