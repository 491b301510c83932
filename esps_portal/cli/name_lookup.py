"""Looking up the host of a portal: a timeout says whether it was still looked up."""

from __future__ import annotations

import socket
from functools import partial
from typing import Any

import trio

_lookup: trio.lowlevel.RunVar[NameLookup | None] = trio.lowlevel.RunVar("lookup", None)


class NameLookup(trio.abc.HostnameResolver):
    """The system's resolver, in a thread as that of trio, but it can be asked what it waits for.

    Attributes:
        unresolved: the name that is looked up, or was when that was cancelled; empty for none.
    """

    def __init__(self) -> None:
        self.unresolved: str = ""

    async def getaddrinfo(  # noqa: PLR0913, PLR0917 - trio's signature
        self,
        host: bytes | None,
        port: bytes | str | int | None,
        family: int = 0,
        type: int = 0,  # noqa: A002 - the same
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        """Return what `socket.getaddrinfo` returns; a literal address does not come here."""
        self.unresolved = (host or b"").decode("ascii", "replace")
        look_up = partial(socket.getaddrinfo, host, port, family, type, proto, flags)
        try:
            found = await trio.to_thread.run_sync(look_up, abandon_on_cancel=True)
        except OSError:
            self.unresolved = ""
            raise
        self.unresolved = ""
        return found

    async def getnameinfo(self, sockaddr: tuple[Any, ...], flags: int) -> tuple[str, str]:
        """Return what `socket.getnameinfo` returns."""
        look_up = partial(socket.getnameinfo, sockaddr, flags)
        return await trio.to_thread.run_sync(look_up, abandon_on_cancel=True)


def watch_lookups() -> None:
    """Have this run of trio note what is looked up; see `unresolved_name`."""
    if _lookup.get() is None:
        lookup = NameLookup()
        _lookup.set(lookup)
        trio.socket.set_custom_hostname_resolver(lookup)


def unresolved_name() -> str:
    """Return the name whose look-up has not ended; empty if none has begun, or all have ended."""
    lookup = _lookup.get()
    return "" if lookup is None else lookup.unresolved
