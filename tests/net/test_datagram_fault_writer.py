"""Datagrams that faults delay, multiply, hold or send from another port; the socket is real."""

from __future__ import annotations

import contextlib
import functools
import socket
from collections.abc import AsyncIterator

import attrs
import pytest
import trio
import trio.testing

from esps_portal.faults.datagram_plan import DatagramPlan
from esps_portal.net import datagram_fault_writer
from esps_portal.net.datagram_fault_writer import DatagramFaultWriter
from esps_portal.net.datagram_sender import Sender
from esps_portal.net.datagram_socket import DatagramSocket


@attrs.define(eq=False)
class Written:
    """A fault writer, and the client that gets its datagrams."""

    faults: DatagramFaultWriter
    client: socket.socket
    to: Sender
    source: tuple[str, int]

    def come(self) -> list[bytes]:
        """Return all that has come."""
        found = []
        with contextlib.suppress(BlockingIOError):
            while True:
                found.append(self.client.recv(1000))
        return found


@contextlib.asynccontextmanager
async def written() -> AsyncIterator[Written]:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        sock.bind(("127.0.0.1", 0))
        client.bind(("127.0.0.1", 0))
        client.setblocking(False)  # noqa: FBT003 - the standard library's own signature
        async with trio.open_nursery() as nursery:
            faults = DatagramFaultWriter(DatagramSocket(sock), nursery)
            yield Written(faults, client, Sender(client.getsockname()), sock.getsockname())
            nursery.cancel_scope.cancel()


async def test_at_once() -> None:
    async with written() as w:
        w.faults.send(b"a", w.to)
        w.faults.perform(DatagramPlan((b"b", b"b")), w.to)
        w.faults.perform(DatagramPlan(), w.to)
        assert w.come() == [b"a", b"b", b"b"]


async def test_what_is_late_is_bounded(
    autojump_clock: object, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(datagram_fault_writer, "MAX_LATE", 3)
    monkeypatch.setattr(datagram_fault_writer, "MAX_LATE_BYTES", 100)
    async with written() as w:
        for datagram in (b"a", b"b", b"c", b"lost", b"lost too"):
            w.faults.perform(DatagramPlan((datagram,) * 2, delay=1), w.to)
        w.faults.perform(DatagramPlan((b"not held",), delay=1, hold=1), w.to)
        await trio.sleep(2)
        assert sorted(w.come()) == [b"a", b"a", b"b", b"b", b"c", b"c"]
        for datagram in (b"d" * 60, b"e" * 60, b"f" * 40):
            w.faults.perform(DatagramPlan((datagram,), delay=1), w.to)
        await trio.sleep(2)
        assert sorted(w.come()) == [b"d" * 60, b"f" * 40]
        for number in range(20):  # what was released makes room at once
            w.faults.perform(DatagramPlan((b"%d" % number,), delay=1000, hold=1), w.to)
            w.faults.send(b"", w.to)
            await trio.testing.wait_all_tasks_blocked()
        assert len(w.come()) == 40
    assert caplog.text.count("faults delay too many datagrams: some are lost") == 1


async def test_from_another_port() -> None:
    async with written() as w:
        w.faults.perform(DatagramPlan((b"a",), from_other_port=True), w.to)
        data, source = w.client.recvfrom(1000)
        assert data == b"a"
        assert source[0] == w.source[0]
        assert source != w.source


async def test_late(mock_clock: trio.testing.MockClock) -> None:
    async with written() as w:
        w.faults.perform(DatagramPlan((b"a",), delay=10), w.to)
        await trio.testing.wait_all_tasks_blocked()
        assert w.come() == []
        mock_clock.jump(10)
        await trio.testing.wait_all_tasks_blocked()
        assert w.come() == [b"a"]


async def test_held_until_others_have_left(mock_clock: trio.testing.MockClock) -> None:
    async with written() as w:
        w.faults.perform(DatagramPlan((b"a",), delay=600, hold=3), w.to)
        w.faults.send(b"b", w.to)
        w.faults.perform(DatagramPlan(), w.to)  # nothing leaves
        w.faults.perform(DatagramPlan((b"c",), delay=10), w.to)
        assert w.come() == [b"b"]
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(10)
        await trio.testing.wait_all_tasks_blocked()
        w.faults.perform(DatagramPlan((b"d",)), w.to)
        assert w.come() == [b"c", b"d", b"a"]
        mock_clock.jump(600)  # it does not come twice
        await trio.testing.wait_all_tasks_blocked()
        assert w.come() == []


async def test_held_for_a_time(mock_clock: trio.testing.MockClock) -> None:
    async with written() as w:
        w.faults.perform(DatagramPlan((b"a",), delay=10, hold=1), w.to)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(10)
        await trio.testing.wait_all_tasks_blocked()
        assert w.come() == [b"a"]


async def test_forgotten(mock_clock: trio.testing.MockClock) -> None:
    async with written() as w:
        w.faults.perform(DatagramPlan((b"a",), delay=10), w.to)
        await trio.testing.wait_all_tasks_blocked()
        w.faults.perform(DatagramPlan((b"b",), delay=10), w.to)  # not even begun
        w.faults.perform(DatagramPlan((b"c",), delay=10, hold=1), w.to)
        w.faults.forget()
        mock_clock.jump(10)
        await trio.testing.wait_all_tasks_blocked()
        w.faults.send(b"d", w.to)
        assert w.come() == [b"d"]


async def test_due_in_the_moment_in_which_it_is_forgotten(
    mock_clock: trio.testing.MockClock,
) -> None:
    """Two are due at once, and whichever comes first has the other one forgotten."""
    async with written() as w:
        happened: list[bytes] = []

        def happen(name: bytes) -> None:
            happened.append(name)
            w.faults.forget()

        for name in (b"a", b"b"):
            w.faults.call_later(10, functools.partial(happen, name), 0)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(10)
        await trio.testing.wait_all_tasks_blocked()
        assert len(happened) == 1
