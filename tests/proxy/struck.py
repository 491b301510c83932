"""A connection through a proxy, up to where a fault strikes what is sent on it."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from esps_portal.faults.fault import Fault
from tests.threaded_proxies import Sending, Side, ThreadedProxy

REQUEST = b"GET key\r\n"
UNIT = b"VALUE 0123456789\r\n"


@attrs.frozen
class Struck:
    """A connection on which a fault is to strike `UNIT`.

    Attributes:
        named: the side that the fault names; ``other``: the one that sends the unit.
    """

    proxy: ThreadedProxy
    send: Sending
    named: Side
    other: Side
    fault: Fault

    def send_unit(self) -> None:
        self.send(self.other, UNIT)

    def end_has_passed(self) -> None:
        """The connection is as it was: bytes pass both ways."""
        for source, sink in ((self.named, self.other), (self.other, self.named)):
            source.send(b"more")
            assert sink.read(4) == b"more"

    def passes_from_named(self) -> None:
        """What the named side sends still reaches the other, which is open."""
        self.named.send(b"still here")
        assert self.other.read(10) == b"still here"
        assert self.other.has_nothing()


def place(proxy: ThreadedProxy, send: Sending, to: str, kind: str, **options: Any) -> Struck:  # noqa: ANN401 - checked by the fault
    """Place a fault, and bring a connection to where the unit can be sent."""
    fault = proxy.fault(kind, to=to, **options)
    client, server = proxy.connect()
    if to == "server":
        return Struck(proxy, send, server, client, fault)
    send(client, REQUEST)
    assert server.read(len(REQUEST)) == REQUEST
    return Struck(proxy, send, client, server, fault)


both_ways = pytest.mark.parametrize("to", ["client", "server"])
