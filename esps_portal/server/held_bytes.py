"""Counts the bytes that one connection holds, for the bound over all connections of its server."""

from __future__ import annotations

import attrs

from esps_portal.net.buffered_bytes import BufferedBytes, Holder
from esps_portal.net.writer import Writer
from esps_portal.protocol.server_connection import ServerConnection


@attrs.define(eq=False)
class HeldBytes:
    """What one connection holds: what it has not sent, and what it has not answered.

    Args:
        connection: is ended, and its bytes are dropped, if all connections hold too many.
        counted: the sum over all connections; `None`: there is none.

    Attributes:
        size: as it was last noted, in bytes.
    """

    _connection: Holder
    _counted: BufferedBytes | None
    _protocol: ServerConnection
    _writer: Writer
    size: int = attrs.field(default=0, init=False)
    _are_released: bool = attrs.field(default=False, init=False)

    def note(self) -> None:
        """Count the bytes that it holds now."""
        if self._counted is None or self._are_released:
            return
        size = len(self._writer.outgoing) + self._protocol.buffered
        if size != self.size:
            self.size = size
            self._counted.note(self._connection, size)

    def release(self) -> None:
        """Count none of them any more: the connection ends without them."""
        if self._are_released:
            return
        self._are_released = True
        if self.size and self._counted is not None:
            self.size = 0
            self._counted.note(self._connection, 0)
        del self._connection  # which refers to this
