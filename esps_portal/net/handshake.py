"""The handshake of TLS on trio, for either side."""

from __future__ import annotations

import trio

from esps_portal.net.silence import NEVER_SILENT, Silence
from esps_portal.net.tls import TLSSocket, Wants


async def shake_hands(tls: TLSSocket, silence: Silence = NEVER_SILENT) -> None:
    """Do the whole handshake; whoever calls this bounds its time.

    Args:
        silence: as long as it is on nothing is read or written.

    Raises:
        TLSError: it has failed.
        OSError: the connection was reset.
        trio.ClosedResourceError: it was closed meanwhile.
    """
    while True:
        await silence.until_over()
        if tls.fileno() < 0:
            raise trio.ClosedResourceError
        wants = tls.shake_hands()
        if wants is None:
            return
        if wants is Wants.INPUT:
            await trio.lowlevel.wait_readable(tls)
        else:
            await trio.lowlevel.wait_writable(tls)
