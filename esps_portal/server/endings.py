"""Why a connection ends, and what it then does: one table (specification, section Ends).

A connection ends once. A reason of a higher rank replaces one of a lower rank; of the same rank the
first one stays.
"""

from __future__ import annotations

import enum

import attrs


class EndReason(enum.Enum):
    """Why a connection ends."""

    FINISHED = "the client has sent QUIT, or FIN"
    FATAL = "the client has sent what no connection survives"
    IDLE = "no line has come, and no call has run, for long"
    SHUTDOWN = "the server shuts down"
    STALL = "a fault: nothing more is sent"
    BROKEN = "the client has reset the connection"
    CLOSE = "a service, a stub or a fault: FIN in place of what would follow"
    RESET = "a service or a fault: RST in place of what would follow"
    HALF_CLOSE = "a fault: FIN, and what the client sends is thrown away"
    UNREAD = "the client does not read what is sent"
    ABORTED = "the portal is reset, or taken down"


class How(enum.Enum):
    """How a connection is closed."""

    FIN = "FIN after the last byte, then discard input until EOF, bounded; close"
    RST = "RST after the last byte"
    RST_AT_ONCE = "RST, whatever is still unsent"
    MUTE = "send nothing more, and read on until the client or the server ends"
    GONE = "the client has gone: just close"


@attrs.frozen
class Ending:
    """What a connection does when it ends.

    Attributes:
        rank: see the module. From 1 on nothing more is said.
        how: the way it is closed.
        first: who closes first, and with what, as a journal has it; `None`: it depends on the
            client.
        drains: running calls get time to end, and the rest is refused.
    """

    rank: int
    how: How
    first: tuple[str, str] | None = None
    drains: bool = False


ENDINGS = {
    EndReason.FINISHED: Ending(0, How.FIN, drains=True),
    EndReason.FATAL: Ending(0, How.FIN),
    EndReason.IDLE: Ending(0, How.FIN),
    EndReason.SHUTDOWN: Ending(0, How.FIN, drains=True),
    EndReason.STALL: Ending(1, How.MUTE),
    EndReason.BROKEN: Ending(2, How.GONE),
    EndReason.CLOSE: Ending(2, How.FIN, ("portal", "fin")),
    EndReason.RESET: Ending(2, How.RST, ("portal", "rst")),
    EndReason.HALF_CLOSE: Ending(2, How.MUTE, ("portal", "fin")),
    EndReason.UNREAD: Ending(3, How.RST_AT_ONCE, ("portal", "rst")),
    EndReason.ABORTED: Ending(3, How.RST_AT_ONCE, ("portal", "rst")),
}

#: The end that a fault names.
FAULT_ENDS = {
    "close": EndReason.CLOSE,
    "reset": EndReason.RESET,
    "half-close": EndReason.HALF_CLOSE,
    "stall": EndReason.STALL,
}
