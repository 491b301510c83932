"""redis-py through a proxy, in front of redis-server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from esps_portal.testing import ProxyController, ProxyFactory
from tests.optional import package

redis = package("redis")


@pytest.fixture
def proxy(esps_proxy: ProxyFactory, redis_port: int) -> ProxyController:
    with redis.Redis(port=redis_port) as direct:
        direct.flushall()
    return esps_proxy(f"tcp://127.0.0.1:{redis_port}")


@pytest.fixture
def client(proxy: ProxyController) -> Iterator[Any]:
    """A client that tries again at once."""
    retry = redis.retry.Retry(redis.backoff.NoBackoff(), 2)
    with redis.Redis(host=proxy.host, port=proxy.port, retry=retry, protocol=2) as made:
        yield made


def test_a_reset_within_a_reply_is_retried(
    client: Any,  # noqa: ANN401 - redis-py, typed or not
    proxy: ProxyController,
) -> None:
    client.set("k", "0123456789abcdef")
    fault = proxy.fault("reset", match=b"GET", offset=10, times=1)
    assert client.get("k") == b"0123456789abcdef"
    assert fault.happened == 1
    lost, again = proxy.exchanges(b"\r\nGET\r\n")
    assert (lost.state, again.state) == ("faulted", "replied")


def test_a_lost_reply_runs_a_command_twice(
    client: Any,  # noqa: ANN401 - redis-py, typed or not
    proxy: ProxyController,
) -> None:
    fault = proxy.fault("reset", match=b"INCR", offset=2, times=1)
    assert client.incr("n") == 2
    assert fault.happened == 1
    assert len(proxy.exchanges(b"INCR")) == 2


def test_a_lost_request_runs_it_once(
    client: Any,  # noqa: ANN401 - redis-py, typed or not
    proxy: ProxyController,
) -> None:
    fault = proxy.fault("reset", match=b"INCR", when="before", times=1)
    assert client.incr("n") == 1
    assert fault.happened == 1


def test_a_server_that_is_down_and_comes_back(
    client: Any,  # noqa: ANN401 - redis-py, typed or not
    proxy: ProxyController,
) -> None:
    with proxy.down(), pytest.raises(redis.ConnectionError):
        client.ping()
    assert client.ping() is True


def test_silence_meets_the_timeout(proxy: ProxyController) -> None:
    proxy.fault("stall", match=b"GET", times=1)
    with redis.Redis(
        host=proxy.host,
        port=proxy.port,
        socket_timeout=1,  # second: it takes milliseconds where there is no fault
        retry=redis.retry.Retry(redis.backoff.NoBackoff(), 0),
    ) as client:
        with pytest.raises(redis.TimeoutError):
            client.get("k")
        assert client.get("k") is None
