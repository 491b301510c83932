"""The steps of a vector, and the vector itself, as values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

import attrs

#: The connection, or the UDP socket, of a step that names none.
FIRST = "1"


@attrs.frozen
class Open:
    """Open a connection, and read its greeting; or a UDP socket.

    Attributes:
        on: its name.
        greeting: the pattern of the first line (TCP).
        hello: then say HELLO, and read the reply (TCP).
        below_1024: its port is below 1024, which may need a privilege (UDP).
    """

    on: str
    greeting: str = "* ESPS/1 {/[^/]+/[^/]+/} {text}"
    hello: bool = True
    below_1024: bool = False


@attrs.frozen
class Send:
    """Send bytes: over UDP, one datagram.

    Attributes:
        data: a template.
        repeat: how often; the name of a limit is that many times.
    """

    on: str
    data: str
    repeat: int | str = 1


@attrs.frozen
class Urgent:
    """Send an octet as urgent data (TCP)."""

    on: str
    octet: str


@attrs.frozen
class ExpectedLine:
    """A line that must come.

    Attributes:
        pattern: its tokens.
        contains: patterns of arguments that must be among those of the ``{text}`` at its end.
        repeat: how often it comes.
    """

    pattern: str
    contains: tuple[str, ...] = ()
    repeat: int = 1


@attrs.frozen
class Expect:
    """Wait for lines: over UDP, those of one datagram.

    Attributes:
        in_order: they come in this order; else in this order for each tag.
        at_least: seconds since this side last acted (opened, sent, ended); none may come earlier.
        at_most: seconds since the step before; all come by then.
    """

    on: str
    lines: tuple[ExpectedLine, ...]
    in_order: bool = False
    at_least: float = 0
    at_most: float | None = None
    repeat: int | str = 1


@attrs.frozen
class Silence:
    """Nothing comes.

    Attributes:
        seconds: how long; ``None``: before the reply to a PING that is sent now.
    """

    on: str
    seconds: float | None = None


@attrs.frozen
class End:
    """Nothing more comes, and the server ends the connection.

    Attributes:
        how: with a FIN, a RST, or either.
        discard: lines may come before, which are not judged.
        unread: seconds for which nothing is read, unless the server ends the connection before;
            what comes is not judged.
        fragment: the pattern of what comes without LF before the end.
        at_least: seconds since this side last acted (opened, sent, ended); not earlier.
        at_most: seconds since the step before.
    """

    on: str
    how: Literal["fin", "rst", "any"]
    discard: bool = False
    unread: float = 0
    fragment: str = ""
    at_least: float = 0
    at_most: float | None = None


@attrs.frozen
class Discarded:
    """What is sent after the server's FIN is read and discarded, for this many seconds."""

    on: str
    seconds: float


@attrs.frozen
class Gone:
    """The server has closed its socket, or does so in time: what is sent meets a RST."""

    on: str
    at_most: float


@attrs.frozen
class Flood:
    """Send a line again and again, and read nothing, until the server stops reading.

    Attributes:
        data: the template of the line.
    """

    on: str
    data: str


@attrs.frozen
class Fin:
    """Shut down writing."""

    on: str


@attrs.frozen
class Rst:
    """Reset the connection."""

    on: str


@attrs.frozen
class Pause:
    """Do nothing for some seconds: only where a requirement is about time."""

    seconds: float


@attrs.frozen
class Shutdown:
    """Tell the server to end, with SIGTERM. The vector needs a server that the runner started."""


Step: TypeAlias = (
    Open
    | Send
    | Urgent
    | Expect
    | Silence
    | End
    | Discarded
    | Gone
    | Flood
    | Fin
    | Rst
    | Pause
    | Shutdown
)


@attrs.frozen
class Vector:
    """One conversation with a server.

    Attributes:
        id: its name.
        requirements: identifiers of the specification that it tests.
        level: ``must``, ``should`` or ``may``.
        transport: ``tcp`` or ``udp``.
        limits: what the server must have been configured with, by the names of section 10.
        bytewise: it runs a second time, sent byte by byte.
        alone: it may not run beside others.
    """

    id: str
    requirements: tuple[str, ...]
    level: str
    transport: Literal["tcp", "udp"]
    steps: tuple[Step, ...]
    limits: Mapping[str, float] = attrs.field(factory=dict)
    bytewise: bool = True
    alone: bool = False
