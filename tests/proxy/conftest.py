"""Fixtures for the tests of proxies."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.threaded_proxies import DELIVERIES, Sending, ThreadedProxy, threaded_proxy


@pytest.fixture
def proxy() -> Iterator[ThreadedProxy]:
    """Return a proxy without framing, before a server that the test plays."""
    with threaded_proxy() as proxy:
        yield proxy


@pytest.fixture(params=DELIVERIES)
def send(request: pytest.FixtureRequest, proxy: ThreadedProxy) -> Sending:
    """Return what sends a unit: the test runs with each way in which reads may fall."""
    return Sending(proxy, request.param)
