"""Connecting a socket to a host by name: each of its addresses is tried in turn, within a bound."""

from __future__ import annotations

import os
import socket
from typing import Any

import attrs
import trio

from esps_portal.net.dial_order import DialPlace
from esps_portal.net.fork import closed_in_child, unforked

# Seconds: more than one SYN gets (RFC 6298 section 2: it is sent again after 1, 3 and 7 s).
_TIMEOUT = 10.0


class DialError(Exception):
    """No address of a host can be connected to; its text says why, in a few words."""


async def dial(
    host: str,
    port: int,
    kind: socket.SocketKind = socket.SOCK_STREAM,
    place: DialPlace | None = None,
) -> socket.socket:
    """Return a connected socket that does not block.

    A test may have replaced what this needs (pytest-socket, a mock), which then fails as a host
    does that cannot be reached: it must not end a proxy that serves others.

    Args:
        kind: ``SOCK_STREAM`` is TCP, ``SOCK_DGRAM`` UDP.
        place: when it may begin; `None`: at once.

    Raises:
        DialError: nobody answers there within 10 seconds.
    """
    reason, waits_for = "no such host", f"{host} was not resolved"
    with trio.move_on_after(_TIMEOUT):
        addresses = await _resolve(host, port, kind)
        waits_for = "no reply"
        for family, _, _, _, address in addresses:
            try:
                return await _connect(family, kind, address, place)
            except OSError as failed:
                reason = os.strerror(failed.errno or 0)
            except Exception as failed:  # a test's own class in place of socket.socket
                raise DialError(_text_of(failed)) from failed
        raise DialError(reason)
    raise DialError(f"{waits_for} in {_TIMEOUT:g} s")


async def _resolve(host: str, port: int, kind: socket.SocketKind) -> list[tuple[Any, ...]]:
    try:
        return [*await trio.socket.getaddrinfo(host, port, type=kind)]
    except OSError as failed:  # the text of getaddrinfo's errors is its own
        raise DialError(failed.strerror or "no such host") from failed
    except Exception as failed:  # a test's own function in place of getaddrinfo
        raise DialError(_text_of(failed)) from failed


def _text_of(error: Exception) -> str:
    """Return what a test's own function has raised, such as that of pytest-socket."""
    return f"{type(error).__name__}: {error}"


async def _connect(
    family: int, kind: socket.SocketKind, address: tuple[Any, ...], place: DialPlace | None
) -> socket.socket:
    with unforked:
        sock = closed_in_child(socket.socket(family, kind))
    try:
        sock.setblocking(False)  # noqa: FBT003 - the standard library's own signature
        trio.socket.from_stdlib_socket(sock)  # raises if a test has put something else in its place
        attempt = _Attempt(sock, address)
        if place is None:
            attempt.begin()
        else:
            await place.begin(attempt.begin)
        await attempt.result()
    except BaseException:
        sock.close()
        raise
    return sock


@attrs.define
class _Attempt:
    """Connects a socket that does not block."""

    _socket: socket.socket
    _address: tuple[Any, ...]
    _is_under_way: bool = False
    _failed: Exception | None = None

    def begin(self) -> None:
        """Begin to connect: over TCP, send the SYN. `result` reports what became of it."""
        try:
            self._socket.connect(self._address)
        except BlockingIOError:
            self._is_under_way = True
        except Exception as error:  # noqa: BLE001 - `result` raises it
            self._failed = error

    async def result(self) -> None:
        """Wait until it is connected.

        Raises:
            OSError: it cannot be connected.
        """
        if self._failed is not None:
            raise self._failed
        if not self._is_under_way:
            return
        await trio.lowlevel.wait_writable(self._socket)
        failed = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failed:
            raise OSError(failed, os.strerror(failed))
