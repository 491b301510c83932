"""What a fault may strike, and the reasons why it does not."""

from __future__ import annotations

import enum
from collections.abc import Hashable

import attrs

from esps_portal.journal.records import RecordedCall, RecordedConnection, RecordedExchange


class Stage(enum.Enum):
    """Which part of a connection or an exchange faults are asked about."""

    #: A request that is known as a whole, and its reply: both are decided on at once.
    WHOLE = "a request with its reply"
    REQUEST = "what the client sends"
    REPLY = "what the server sends"
    CONNECTION = "a connection, as it is accepted"
    HANDSHAKE = "a connection whose TLS handshake begins"
    AGE = "a connection that has reached an age"


@attrs.frozen(eq=False)
class FaultTarget:
    """A request, its reply, or a connection as it is accepted.

    Attributes:
        connection: identifies the connection; over UDP the client's address does.
        service: the service that is called; ``None`` if the request calls none.
        record: the journal's record, for a report.
        request_data: what the client sent, as far as it is known.
        number: of its exchange on the connection; 0 is what the server sends first.
        is_unsolicited: the server sends it and no request has asked for it.
        age: of the connection, in seconds.
        counted: the number that each fault gave to the request of this exchange.
    """

    transport: str
    connection: Hashable
    service: bytes | None = None
    record: RecordedCall | RecordedConnection | RecordedExchange | None = None
    stage: Stage = Stage.WHOLE
    request_data: bytes = b""
    number: int = 1
    is_unsolicited: bool = False
    age: float = 0.0
    counted: dict[object, int] = attrs.field(factory=dict, repr=False)

    @property
    def is_connection(self) -> bool:
        """Whether it is a connection, not a request or a reply."""
        return self.stage in (Stage.CONNECTION, Stage.HANDSHAKE, Stage.AGE)


@enum.unique
class MissReason(enum.IntEnum):
    """Why a fault did not strike a target, in the order of the checks: the higher, the nearer."""

    #: The server sends it before its client, and the fault is for other replies.
    GREETING = 1
    #: Its first byte had come before the fault was placed.
    BEGUN = 2
    TRANSPORT = 3
    SERVICE = 4
    MATCH = 5
    CONNECTION = 6
    AGE = 7
    REQUEST = 8
    REPLY = 9
    #: An earlier fault claimed the target.
    CLAIMED = 10
    #: The fault claimed it, and no reply was sent that it could change.
    NO_REPLY = 11
    REPLY_MATCH = 12
    #: It has what the fault was to find, in a reply that had begun before the fault was placed.
    FOUND_BEGUN = 13
    #: The fault changes nothing in that reply.
    NO_CHANGE = 14


@attrs.frozen
class NearMiss:
    """A target that a fault did not strike, and why.

    Attributes:
        connection_number: as the fault counts connections; 0 where it does not.
        reply_size: of a reply that it does not change, in bytes.
        found_at: where in that reply the last byte is of what it had to find, counted from 0; 0
            also if it had to find nothing, or acts on whole frames.
    """

    reason: MissReason
    target: FaultTarget
    connection_number: int = 0
    reply_size: int = 0
    found_at: int = 0
