"""The names and the selectors of faults, as editors and type checkers see them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, TypedDict

from esps_portal.faults.matching import Matchable

#: The names of all faults: annotate a parameter of your own with it.
FaultName = Literal[
    "latency",
    "bandwidth",
    "slice",
    "coalesce",
    "close",
    "reset",
    "half-close",
    "stall",
    "deaf",
    "truncate",
    "garbage",
    "no-terminator",
    "accept-close",
    "certificate",
    "drop",
    "duplicate",
    "reorder",
    "delay",
    "corrupt",
    "patch",
    "oversize",
    "wrong-source",
]


class ConnectionSelectors(TypedDict, total=False):
    """Which connections a fault strikes, and how often; by default all, always."""

    #: One or several numbers, counted from 1 in the order of accepting since the fault was placed;
    #: over UDP each client counts as one.
    connection: int | Collection[int] | None
    #: How often it strikes at most.
    times: int | None
    #: How likely it strikes, from 0 to 1. With a ``seed`` every run is the same.
    chance: float | None


class Selectors(ConnectionSelectors, total=False):
    """Which requests and replies a fault strikes, and how often; by default all, always."""

    #: Calls of this service.
    service: str | None
    #: One or several numbers, counted from 1 among the requests that the other selectors match
    #: since the fault was placed.
    request: int | Collection[int] | None
    #: The same for replies; reply 0 is what a server sends before its client.
    reply: int | Collection[int] | None
    #: What the client sent contains this text (as UTF-8) or these bytes; or a compiled regular
    #: expression is found in it; or this function of bytes returns true.
    match: Matchable | None
    #: The same for the reply; over TCP for one of its lines, where the fault then begins.
    reply_match: Matchable | None
    #: Only on connections of this age in seconds; of UDP a proxy alone knows any. Without
    #: selectors of requests and replies a fault that ends the connection strikes at that age,
    #: whatever is sent.
    age: float | None


class DatagramSelectors(Selectors, total=False):
    """Selectors of datagrams."""

    #: Which side sees the fault; only a proxy has a server.
    to: Literal["client", "server"] | None


class DeafSelectors(Selectors, total=False):
    """Selectors of connections, without a side."""

    #: So many bytes of the reply pass first.
    offset: int | None
    #: All that is sent on a connection is one unit.
    unit: Literal["connection"] | None


class StreamSelectors(DeafSelectors, total=False):
    """Selectors of connections."""

    #: Which side sees the fault; only a proxy has a server.
    to: Literal["client", "server"] | None


class StreamFault(StreamSelectors, total=False):
    """Where a fault strikes over TCP; it may come in place of a request's execution."""

    #: ``"before"``: the request is not executed; ``"after"``, the default: its reply is affected.
    when: Literal["before", "after"]
    #: Over TCP in any case.
    transport: Literal["tcp"] | None
    #: What a ``chance`` follows.
    seed: int | None


class StreamReplyFault(StreamSelectors, total=False):
    """Where a fault strikes over TCP that changes a reply."""

    when: Literal["after"]
    transport: Literal["tcp"] | None
    seed: int | None


class ReplyFault(StreamSelectors, total=False):
    """Where a fault strikes that changes a reply, over TCP and UDP."""

    when: Literal["after"]
    #: By default both.
    transport: Literal["tcp", "udp"] | None
    seed: int | None


class DeafFault(DeafSelectors, total=False):
    """Where a fault strikes after which a client is not read."""

    when: Literal["before", "after"]
    transport: Literal["tcp"] | None
    seed: int | None


class ConnectionFault(ConnectionSelectors, total=False):
    """Where a fault strikes a connection before anything is sent on it."""

    transport: Literal["tcp"] | None
    seed: int | None


class DatagramFault(DatagramSelectors, total=False):
    """Where a fault strikes over UDP; it may come in place of a request's execution."""

    #: ``"before"``: the request is not executed; ``"after"``, the default: its reply is affected.
    when: Literal["before", "after"]
    #: Over UDP in any case.
    transport: Literal["udp"] | None
    seed: int | None


class DatagramReplyFault(DatagramSelectors, total=False):
    """Where a fault strikes over UDP that changes a reply."""

    when: Literal["after"]
    transport: Literal["udp"] | None
    seed: int | None
