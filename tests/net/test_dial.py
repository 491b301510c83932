"""Connecting to the server behind a proxy: what is said where there is no answer in time."""

from __future__ import annotations

import socket

import pytest
import trio
from trio.testing import MockClock

from esps_portal.net.dial import DialError, dial


async def test_a_name_that_is_not_resolved_in_time(
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def never(*_: object, **__: object) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(trio.socket, "getaddrinfo", never)
    with pytest.raises(DialError, match=r"server\.test was not resolved in 10 s"):
        await dial("server.test", 1)


async def test_a_server_that_does_not_answer_in_time(
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def found(*_: object, **__: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 1))]

    async def never(*_: object) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(trio.socket, "getaddrinfo", found)
    monkeypatch.setattr("esps_portal.net.dial._connect", never)
    with pytest.raises(DialError, match="no reply in 10 s"):
        await dial("server.test", 1)
