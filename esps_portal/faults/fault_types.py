"""The fault types: the name of each, what it makes a client see, and its parameters.

The fixture, scenario files, the command line and the control port share this table; an unknown
name or a wrong value is an error at once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import attrs

from esps_portal.faults.other_tools import fault_here, parameter_here
from esps_portal.faults.parameters import (
    COUNT,
    PLACE,
    SEED,
    SOME_TIME,
    FaultError,
    Parameter,
    datagram_bytes,
    seconds,
)
from esps_portal.suggestions import suggest
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

TCP = frozenset({"tcp"})
UDP = frozenset({"udp"})
BOTH = TCP | UDP

#: The selectors: where and when a fault strikes; the same for all types.
SELECTORS = (
    "service",
    "transport",
    "connection",
    "request",
    "reply",
    "match",
    "reply_match",
    "offset",
    "to",
    "unit",
    "age",
    "when",
    "times",
    "chance",
    "seed",
)
#: What may be wrong with a certificate.
CERTIFICATE_PROBLEMS = ("expired", "wrong-name", "self-signed")
#: Faults that can end a connection at an age, without any unit.
TIMED = ("close", "reset", "half-close", "stall", "deaf", "garbage")
# Those that make sense before any request.
_CONNECTION_SELECTORS = ("transport", "connection", "times", "chance", "seed")


@attrs.frozen
class FaultType:
    """One type of fault.

    Attributes:
        meaning: what the client's socket sees.
        transports: ``tcp``, ``udp`` or both.
        parameters: by name.
        allows_before: it may strike before the request is executed (``when="before"``).
        precedes_requests: it strikes a connection before any request: as it is accepted, or
            ``at_handshake``, when the TLS handshake begins.
        ends: it ends the connection, or all that is sent on it.
    """

    meaning: str
    transports: frozenset[str]
    parameters: Mapping[str, Parameter] = attrs.field(factory=dict)
    allows_before: bool = False
    precedes_requests: bool = False
    at_handshake: bool = False
    ends: bool = False

    @property
    def selectors(self) -> tuple[str, ...]:
        """The selectors that it has."""
        return _CONNECTION_SELECTORS if self.precedes_requests else SELECTORS


def _ending(meaning: str, **parameters: Parameter) -> FaultType:
    return FaultType(meaning, TCP, parameters, allows_before=True, ends=True)


FAULT_TYPES: dict[str, FaultType] = {
    "latency": FaultType(
        "the reply comes late, by up to jitter more",
        TCP,
        {"seconds": seconds(), "jitter": seconds(0.0)},
        allows_before=True,
    ),
    "bandwidth": FaultType(
        "the reply comes at this rate", TCP, {"bytes_per_second": Parameter(float, minimum=1)}
    ),
    "slice": FaultType(
        "the reply comes in pieces: cut at a byte, in the middle, before-lf, or every n bytes",
        TCP,
        {
            "at": Parameter(int, "middle", minimum=1, names=("middle", "before-lf")),
            "pause": seconds(0.05),
            "every": attrs.evolve(COUNT, is_optional=True),
        },
    ),
    "coalesce": FaultType(
        "replies are held until there are that many, or for that long, and come at once",
        TCP,
        {"replies": attrs.evolve(COUNT, default=2), "seconds": seconds(1.0, SOME_TIME)},
    ),
    "close": _ending("FIN in place of the reply"),
    "reset": _ending("RST in place of the reply"),
    "half-close": _ending("FIN in place of the reply; what the client sends is discarded"),
    "stall": _ending("nothing comes any more; the connection stays"),
    "deaf": FaultType(
        "the client is never read again; replies still come", TCP, allows_before=True
    ),
    "truncate": FaultType(
        "the first bytes of the reply; over TCP, then FIN",
        BOTH,
        {"bytes": datagram_bytes(1)},
        ends=True,
    ),
    "garbage": _ending(
        "random bytes in place of the reply, then FIN",
        bytes=datagram_bytes(64, minimum=1),
        seed=SEED,
    ),
    "no-terminator": FaultType("the reply without its last terminator; the connection stays", TCP),
    "accept-close": FaultType(
        "the connection is accepted, and closed without a word",
        TCP,
        precedes_requests=True,
        ends=True,
    ),
    "certificate": FaultType(
        "over TLS, a certificate with this problem",
        TCP,
        {"problem": Parameter(str, names=CERTIFICATE_PROBLEMS)},
        precedes_requests=True,
        at_handshake=True,
    ),
    "drop": FaultType("no reply", UDP, allows_before=True, ends=True),
    "duplicate": FaultType(
        "the reply comes that many times", UDP, {"copies": datagram_bytes(2, minimum=2)}
    ),
    "reorder": FaultType(
        "the reply comes after that many others, or that long",
        UDP,
        {"replies": attrs.evolve(COUNT, default=1), "seconds": seconds(1.0, SOME_TIME)},
    ),
    "delay": FaultType(
        "the reply comes late, by up to jitter more",
        UDP,
        {"seconds": seconds(), "jitter": seconds(0.0)},
        allows_before=True,
    ),
    "corrupt": FaultType(
        "some bytes of the reply are changed: from at on, or wherever the seed chooses",
        BOTH,
        {
            "bytes": datagram_bytes(1, minimum=1),
            "at": attrs.evolve(PLACE, is_optional=True),
            "seed": SEED,
        },
    ),
    "patch": FaultType(
        "these bytes, at that place of the reply, replace others",
        BOTH,
        {"at": PLACE, "hex": Parameter(str)},
    ),
    "oversize": FaultType(
        "the reply is padded to this many bytes", UDP, {"bytes": datagram_bytes(2000, minimum=1)}
    ),
    "wrong-source": FaultType("the reply comes from another port", UDP),
}


def find_fault_type(kind: str) -> FaultType:
    """Return the fault type with a name.

    Raises:
        FaultError: there is none.
    """
    # Compared, not looked up: a file or a test may give what is not hashable.
    if kind not in list(FAULT_TYPES):
        here = fault_here(kind)
        hint = f"here it is {here}" if here else suggest(kind, FAULT_TYPES)
        raise FaultError(f"unknown fault {kind!r}; {hint}")
    return FAULT_TYPES[kind]


def parameter_hint(wrong: str, allowed: Collection[str]) -> str:
    """Return what to write in place of an unknown parameter or selector."""
    here = parameter_here(wrong, allowed)
    return f"here it is {here}" if here else suggest(wrong, allowed)
