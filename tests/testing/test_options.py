"""The options of a portal, its limits, and the addresses that come of them."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from esps_portal import Limits
from esps_portal.testing import (
    lines,
    open_memory_portal,
    open_portal,
    peer_in_thread,
    proxy_in_thread,
    serve_in_thread,
)
from tests.patience import PATIENCE


def test_an_unknown_option() -> None:
    with pytest.raises(TypeError, match="unknown option hosts; the options are host"):
        serve_in_thread(hosts="x").__enter__()  # type: ignore[call-arg]


def test_addresses() -> None:
    with serve_in_thread(host="::1") as portal:
        assert portal.host == "::1"
        assert portal.url == f"esps://[::1]:{portal.port}"
        assert portal.udp_url == f"esps+udp://[::1]:{portal.port}"
    with serve_in_thread(host="localhost", udp=False) as portal:
        assert portal.host in {"127.0.0.1", "::1"}
        socket.create_connection((portal.host, portal.port), PATIENCE).close()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hots": "::1"}, "unknown option hots; the options are host, port, limits, tcp, udp"),
        ({"host": ["::1"]}, r"host must be a name or an address, got \['::1'\]"),
        ({"port": "80"}, "port must be a number from 0 to 65535, got '80'"),
        ({"port": True}, "port must be a number from 0 to 65535, got True"),
        ({"limits": {"max_line": 512}}, "limits must be esps_portal.Limits, got {'max_line': 512}"),
        ({"udp": 0}, "udp must be True or False, got 0"),
    ],
)
async def test_an_option_of_a_wrong_type(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message), serve_in_thread(**arguments):
        pass
    with pytest.raises(TypeError, match=message):
        async with open_portal(**arguments):
            pass


async def test_an_empty_host() -> None:
    message = "host must be a name or an address, got ''"
    with pytest.raises(ValueError, match=message), serve_in_thread(host=""):
        pass
    with pytest.raises(ValueError, match=message), peer_in_thread(lines(), host=""):
        pass
    with (
        pytest.raises(ValueError, match=message),
        proxy_in_thread("tcp://127.0.0.1:1", host=""),
    ):
        pass
    with pytest.raises(ValueError, match=message):
        async with open_portal(host=""):
            pass


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_line": "3"}, "max_line must be an integer, got '3'"),
        ({"max_line": True}, "max_line must be an integer, got True"),
        ({"max_line": 3}, "max_line must be at least 512, got 3"),
        ({"max_datagram": 65508}, "max_datagram must be at least 64, at most 65507, got 65508"),
        ({"idle": -1}, "idle must be a number of seconds, 0 or more, got -1"),
    ],
)
def test_a_limit_that_is_not_valid(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        Limits(**arguments)
    assert str(caught.value).startswith(message)


async def test_only_what_is_served_has_a_url() -> None:
    async with open_memory_portal() as portal:
        with pytest.raises(RuntimeError, match="this portal is not served over TCP"):
            _ = portal.url
    async with open_portal(udp=False) as served:
        assert served.url == f"esps://127.0.0.1:{served.port}"
        with pytest.raises(RuntimeError, match="this portal is not served over UDP"):
            _ = served.udp_url
