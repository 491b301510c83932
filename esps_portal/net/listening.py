"""Taking a connection from a listening socket."""

from __future__ import annotations

import socket
from typing import Any

from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame


def accepted(listener: socket.socket) -> tuple[socket.socket, tuple[Any, ...]]:
    """Do what ``listener.accept()`` does, even where a test has replaced `socket.socket`.

    That makes the new socket of whatever has the name then: of a mock, or of a class that refuses
    (pytest-socket). What is meant for the test must not end its server.
    """
    descriptor, address = listener._accept()  # type: ignore[attr-defined]  # noqa: SLF001 - what accept() calls
    made = type(listener)(listener.family, listener.type, listener.proto, fileno=descriptor)
    made.setblocking(False)  # noqa: FBT003 - the standard library's own signature
    return made, address
