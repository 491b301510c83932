"""Connecting a socket to a host by name: each of its addresses is tried in turn, within a bound."""

from __future__ import annotations

import os
import socket
from typing import Any

import trio

from esps_portal.net.fork import closed_in_child, unforked

# Seconds: more than one SYN gets (RFC 6298 section 2: it is sent again after 1, 3 and 7 s).
_TIMEOUT = 10.0


class DialError(Exception):
    """No address of a host can be connected to; its text says why, in a few words."""


async def dial(host: str, port: int, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
    """Return a connected socket that does not block.

    A test may have replaced what this needs (pytest-socket, a mock), which then fails as a host
    does that cannot be reached: it must not end a proxy that serves others.

    Args:
        kind: ``SOCK_STREAM`` is TCP, ``SOCK_DGRAM`` UDP.

    Raises:
        DialError: nobody answers there within 10 seconds.
    """
    reason, waits_for = "no such host", f"{host} was not resolved"
    with trio.move_on_after(_TIMEOUT):
        addresses = await _resolve(host, port, kind)
        waits_for = "no reply"
        for family, _, _, _, address in addresses:
            try:
                return await _connect(family, kind, address)
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


async def _connect(family: int, kind: socket.SocketKind, address: tuple[Any, ...]) -> socket.socket:
    with unforked:
        sock = closed_in_child(socket.socket(family, kind))
    sock.setblocking(False)  # noqa: FBT003 - the standard library's own signature
    try:
        await trio.socket.from_stdlib_socket(sock).connect(address)
    except BaseException:
        sock.close()
        raise
    return sock
