"""When a UDP client sends a request again, and how long it waits for a reply.

The schedule and its names are those of RFC 7252 section 4.2. With the defaults, the first wait is 1
to 1.5 s and each next one is twice as long. Four retransmissions and a last wait take at most ``1.5
* (2**5 - 1) = 46.5`` s. A portal remembers a call for 60 s, so even a retransmission that takes 13
s on its way executes nothing twice (RFC 7252 section 4.8.2 has the same derivation).
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from esps_portal.protocol.messages import ERR
from esps_portal.protocol.pending_request import PendingRequest

# The longest line while the peer's limit is unknown (ESPS-LINE-19).
_MAX_LENGTH = 8192


@attrs.frozen(kw_only=True)
class Retransmission:
    """The schedule of a client's retransmissions. Times are in seconds."""

    #: The shortest first wait: 1 s as in RFC 6298 section 2 (RFC 7252 has 2 s).
    ack_timeout: float = 1.0
    #: The first wait is multiplied by a random factor from 1 to this, so that clients differ.
    ack_random_factor: float = 1.5
    #: How often a request is sent again; and how often it is padded and sent anew, since each
    #: execution may give a longer reply (ESPS-UDP-38).
    max_retransmit: int = 4

    @classmethod
    def for_host(cls, host: str) -> Retransmission:
        """Return the schedule for an address: the first wait is 50 ms on loopback."""
        return cls(ack_timeout=0.05) if host == "::1" or host.startswith("127.") else cls()

    def waits(self, chance: float) -> Iterator[float]:
        """Yield how long to wait after each transmission; after the last wait, give up.

        Args:
            chance: a random number from 0 to 1, which chooses the first wait.
        """
        wait = self.ack_timeout * (1 + chance * (self.ack_random_factor - 1))
        for _ in range(self.max_retransmit + 1):
            yield wait
            wait *= 2

    @property
    def longest(self) -> float:
        """The longest total wait, in seconds (RFC 7252: MAX_TRANSMIT_WAIT)."""
        return sum(self.waits(1.0))


def needed_length(pending: PendingRequest) -> int | None:
    """Return the length that its reply ``too-large`` asks for.

    `None`: it is another reply, or no length helps.
    """
    final = pending.final
    if final is None or final.kind != ERR or final.args[0] != b"too-large":
        return None
    needed = final.args[1] if len(final.args) > 1 else b""
    digits = needed.lstrip(b"0")
    if not (needed.isdigit() and len(digits) <= len(str(_MAX_LENGTH))):
        return None
    return int(digits or b"0") or None


def padded_length(pending: PendingRequest, sent: int, max_paddings: int) -> int | None:
    """Return the length to pad the request to, if its reply is ``too-large`` and asks for more.

    ``None``: it is another reply, no padding helps, or the request was padded often enough: a
    peer that always asks for more must not make us send without end.

    Args:
        sent: length of the datagram that got this reply, in bytes.
        max_paddings: how often it may be padded: the `Retransmission.max_retransmit` in force.
    """
    length = needed_length(pending)
    if length is None or pending.paddings >= max_paddings:
        return None
    # Padding takes two bytes at least.
    is_possible = max(length, len(pending.line) + 2) <= _MAX_LENGTH
    return length if sent < length and is_possible else None
