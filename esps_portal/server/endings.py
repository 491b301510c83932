"""Why a connection ends, and what it does then: one table (specification, section Ends).

A reason replaces another one of a lower rank; among reasons of the same rank the first one stays.
From rank 2 on, no further line is written.
"""

from __future__ import annotations

import enum
import errno

import attrs
import trio


class EndReason(enum.Enum):
    """Why a connection ends."""

    FINISHED = "the client has sent QUIT, or FIN"
    FATAL = "the client has sent what no connection survives"
    IDLE = "no line has come, and no call has run, for long"
    SHUTDOWN = "the server shuts down"
    STALL = "a fault: nothing more is sent"
    DEAF = "a fault: nothing more is read"
    HANGUP = "the client has closed TLS, and may not read any more"
    BROKEN = "the client has reset the connection"
    CLOSE = "a service, a stub or a fault: FIN in place of what would follow"
    RESET = "a service or a fault: RST in place of what would follow"
    HALF_CLOSE = "a fault: FIN, and what the client sends is thrown away"
    UNREAD = "the client does not read what is sent"
    EVICTED = "all connections hold too many bytes, and this one most"
    ABORTED = "the portal is reset or taken down, or ends without waiting for the drain"


class How(enum.Enum):
    """How a connection is closed."""

    FIN = "FIN after the last byte, then discard input until EOF, bounded; close"
    RST = "RST after the last byte"
    RST_AT_ONCE = "RST, whatever is still unsent"
    MUTE = "send nothing more, discard input until the client or the server ends; close"
    MUTE_AFTER_FIN = "FIN after the last byte, then the same"
    DEAF = "read nothing more; answer what runs, then wait until the client or the server ends; RST"
    GONE = "the client has gone: just close"


@attrs.frozen
class Ending:
    """What a connection does when it ends.

    Attributes:
        rank: see the module.
        how: how the connection is closed.
        first: who closes first, and with what, as a journal has it; `None`: it depends on the
            client.
        drains: running calls get time to end; those that do not are refused.
    """

    rank: int
    how: How
    first: tuple[str, str] | None = None
    drains: bool = False

    @property
    def is_final(self) -> bool:
        """Whether no line is added any more."""
        return self.rank > 1


ENDINGS = {
    EndReason.IDLE: Ending(0, How.FIN),  # a line or a shutdown may come in that very moment
    EndReason.FINISHED: Ending(1, How.FIN, drains=True),
    EndReason.FATAL: Ending(1, How.FIN),
    EndReason.SHUTDOWN: Ending(1, How.FIN, drains=True),
    EndReason.DEAF: Ending(1, How.DEAF, ("portal", "rst")),
    EndReason.STALL: Ending(2, How.MUTE),
    EndReason.HANGUP: Ending(3, How.FIN, ("client", "fin")),
    EndReason.BROKEN: Ending(3, How.GONE),
    EndReason.CLOSE: Ending(3, How.FIN, ("portal", "fin")),
    EndReason.RESET: Ending(3, How.RST, ("portal", "rst")),
    EndReason.HALF_CLOSE: Ending(3, How.MUTE_AFTER_FIN, ("portal", "fin")),
    EndReason.UNREAD: Ending(4, How.RST_AT_ONCE, ("portal", "rst")),
    EndReason.EVICTED: Ending(4, How.RST_AT_ONCE, ("portal", "rst")),
    EndReason.ABORTED: Ending(4, How.RST_AT_ONCE, ("portal", "rst")),
}

#: The end that a fault names.
FAULT_ENDS = {
    "close": EndReason.CLOSE,
    "reset": EndReason.RESET,
    "half-close": EndReason.HALF_CLOSE,
    "stall": EndReason.STALL,
    "deaf": EndReason.DEAF,
}


def reason_of(broken: trio.BrokenResourceError) -> EndReason:
    """Return why a stream is broken: the client has reset it, or the kernel has given it up.

    The kernel gives up a client whose machine answers nothing, not even keepalive.
    """
    cause = broken.__cause__
    given_up = isinstance(cause, OSError) and cause.errno == errno.ETIMEDOUT
    return EndReason.UNREAD if given_up else EndReason.BROKEN
