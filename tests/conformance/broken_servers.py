"""Servers of a few lines, each with a fault, in threads of the test."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from tests.line_servers import line_server

GREETING = b"* ESPS/1 tiny/1\n"


def answer(line: bytes) -> bytes:
    """Answer a request as an honest server does, which knows HELLO, LIST and PING."""
    tag, verb, *args = line.rstrip(b"\r\n").split(b" ")
    if verb == b"HELLO":
        args = [b"ESPS/1", b"tiny/1"]
    if verb in (b"HELLO", b"LIST", b"PING"):
        return b" ".join([tag, b"OK", *args]) + b"\n"
    return tag + b" ERR unknown-verb\n"


@contextlib.contextmanager
def tiny_server(
    change: Callable[[bytes], bytes] = lambda reply: reply, greeting: bytes = GREETING
) -> Iterator[str]:
    """Serve TCP; ``change`` is what it does to each reply. Yield the URL."""
    with line_server(lambda line: change(answer(line)), greeting) as url:
        yield url.replace("tcp:", "esps:")
