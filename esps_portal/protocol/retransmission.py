"""When a UDP client sends a request again: RFC 7252 section 4.2, with its names.

With the defaults a request is sent at 0, then after waits that double from a first one of 1 to
1.5 s; four retransmissions, and a last wait, make at most ``1.5 * (2**5 - 1) = 46.5`` s. That is
less than the 60 s for which a portal remembers a call, so that no retransmission, even one that
took 13 s on its way, runs anything twice (section 4.8 has the same derivation).
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from esps_portal.protocol.client_connection import PendingRequest
from esps_portal.protocol.messages import ERR

# A line is no longer where the peer's limit has not been learnt (spec, Length).
_LONGEST = 8192
# How often a request is padded: each execution may give a longer reply (ESPS-UDP-38).
_MOST_PADDINGS = 4


@attrs.frozen(kw_only=True)
class Retransmission:
    """How a client retransmits. Times are in seconds."""

    #: The shortest first wait. RFC 7252 has 2 s; RFC 6298 section 2 starts at 1 s, as we do.
    ack_timeout: float = 1.0
    #: The first wait is stretched by a random factor from 1 to this, against synchrony.
    ack_random_factor: float = 1.5
    #: How often a request is sent again.
    max_retransmit: int = 4

    @classmethod
    def for_host(cls, host: str) -> Retransmission:
        """Return the schedule for a literal address: quick on loopback, which has no latency."""
        return cls(ack_timeout=0.05) if host == "::1" or host.startswith("127.") else cls()

    def waits(self, chance: float) -> Iterator[float]:
        """Yield how long to wait after each sending; after the last one, give up.

        Args:
            chance: a random number from 0 to 1.
        """
        wait = self.ack_timeout * (1 + chance * (self.ack_random_factor - 1))
        for _ in range(self.max_retransmit + 1):
            yield wait
            wait *= 2

    @property
    def longest(self) -> float:
        """The longest total wait, in seconds (RFC 7252: MAX_TRANSMIT_WAIT)."""
        return sum(self.waits(1.0))


def padded_length(pending: PendingRequest, sent: int) -> int | None:
    """Return how long the request must be for its answer, if the answer says that it is not.

    ``None``: it is no ``too-large``, or one that no padding helps, or has helped often enough: a
    peer that always asks for more must not have us send without end.

    Args:
        sent: how long the datagram was that drew the answer, in bytes.
    """
    final = pending.final
    if final is None or final.kind != ERR or final.args[0] != b"too-large":
        return None
    needed = final.args[1] if len(final.args) > 1 else b""
    if not (needed.isdigit() and len(needed) <= len(str(_LONGEST))):
        return None
    if pending.paddings >= _MOST_PADDINGS:
        return None
    length = int(needed)
    return length if sent < length <= _LONGEST else None
