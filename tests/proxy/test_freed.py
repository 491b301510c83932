"""What a connection of a proxy or a peer was made of is freed once it has ended.

Otherwise the garbage collector has to find it, which looks at everything, and holds the loop for a
tenth of a second where many have ended.
"""

from __future__ import annotations

import contextlib
import gc
import weakref
from collections.abc import Iterator
from typing import Literal

import pytest
import trio

from esps_portal.net.client_handler import ClientHandler
from esps_portal.peer.connection import PeerHandler
from esps_portal.proxy.tcp_relay import Relay
from esps_portal.testing import lines, open_peer, open_proxy
from tests.patience import PATIENCE
from tests.proxies import reset


@pytest.fixture
def without_collector() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.fixture
def handlers(monkeypatch: pytest.MonkeyPatch) -> weakref.WeakSet[ClientHandler]:
    """Those that have served a client and are not freed."""
    found = weakref.WeakSet[ClientHandler]()

    def note(kind: type[PeerHandler | Relay]) -> None:
        run = kind.run

        async def noted(self: ClientHandler) -> None:
            found.add(self)
            await run(self)  # type: ignore[arg-type]

        monkeypatch.setattr(kind, "run", noted)

    note(PeerHandler)
    note(Relay)
    return found


@pytest.mark.usefixtures("without_collector")
@pytest.mark.parametrize("fault", [None, "close", "reset"])
@pytest.mark.parametrize("resets", [True, False])
async def test_it_is_freed(
    handlers: weakref.WeakSet[ClientHandler],
    fault: Literal["close", "reset"] | None,
    resets: bool,
) -> None:
    async with open_peer(lines()) as peer:
        peer.handler(lambda frame, _: frame)
        async with open_proxy(f"tcp://{peer.host}:{peer.port}", framing=lines()) as proxy:
            with contextlib.nullcontext() if fault is None else proxy.fault(fault):
                stream = await trio.open_tcp_stream(proxy.host, proxy.port)
                await stream.send_all(b"x\n")
                with contextlib.suppress(trio.BrokenResourceError):
                    await stream.receive_some()
                assert handlers
                if resets:
                    reset(stream)
                await stream.aclose()
                with trio.fail_after(PATIENCE):
                    while handlers:
                        await trio.lowlevel.checkpoint()
