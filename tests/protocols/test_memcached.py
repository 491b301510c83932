"""pymemcache through a proxy, in front of memcached."""

from __future__ import annotations

import pytest

from esps_portal.testing import ProxyFactory
from tests.optional import package
from tests.patience import PATIENCE

pymemcache = package("pymemcache")


def test_a_late_reply_is_not_taken_for_the_next(
    esps_proxy: ProxyFactory, memcached_port: int
) -> None:
    proxy = esps_proxy(f"tcp://127.0.0.1:{memcached_port}")
    client = pymemcache.Client((proxy.host, proxy.port), timeout=PATIENCE)
    client.set("a", b"1", noreply=False)
    client.set("b", b"2", noreply=False)
    with proxy.fault("latency", seconds=1, match=b"get a", times=1):
        client.sock.settimeout(0.3)  # of this connection, after which it makes another one
        with pytest.raises(TimeoutError):
            client.get("a")
        assert client.get("b") == b"2"
    assert client.get("a") == b"1"
    client.close()


def test_a_cut_value_is_no_value(esps_proxy: ProxyFactory, memcached_port: int) -> None:
    proxy = esps_proxy(f"tcp://127.0.0.1:{memcached_port}")
    client = pymemcache.Client((proxy.host, proxy.port), timeout=PATIENCE)
    client.set("a", b"0123456789", noreply=False)
    with (
        proxy.fault("truncate", bytes=len("VALUE a 0 10\r\n01234"), match=b"get a"),
        pytest.raises(pymemcache.exceptions.MemcacheUnexpectedCloseError),
    ):
        client.get("a")
    client.close()
