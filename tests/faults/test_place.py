"""What makes no sense at a place: an error that says what would."""

from __future__ import annotations

from typing import Any

import pytest

from esps_portal.faults.fault import Fault
from esps_portal.faults.fault_registry import FaultRegistry
from esps_portal.faults.parameters import FaultError
from esps_portal.faults.place import PORTAL, PORTAL_WITH_CERTIFICATES, Place
from tests.cases import cases

PROXY = Place(name="proxy")
TCP_PROXY = Place(name="proxy", transports=frozenset({"tcp"}))
UDP_PROXY = Place(name="proxy", transports=frozenset({"udp"}))
LINES = Place(name="proxy", has_frames=True)
BLOCKS = Place(
    name="proxy",
    has_frames=True,
    unterminated={"client": "framing 'fixed:8'", "server": "framing 'fixed:8'"},
)
BLOCKS_BACK = Place(name="proxy", has_frames=True, unterminated={"client": "reply_framing 'x'"})


@cases(
    ("where", "kind", "options", "error"),
    [
        (
            TCP_PROXY,
            "drop",
            {},
            "fault 'drop' works over UDP only; this proxy is served over TCP",
        ),
        (
            UDP_PROXY,
            "reset",
            {},
            "fault 'reset' works over TCP only; this proxy is served over UDP",
        ),
        (UDP_PROXY, "truncate", {"offset": 2}, "offset is for connections; this"),
        (TCP_PROXY, "corrupt", {"transport": "udp", "at": 1}, "works over UDP only"),
        (PROXY, "reset", {"service": "echo"}, "service is for ESPS/1: select by what the client"),
        (PORTAL, "drop", {"age": 1}, "age is for connections: a portal has none over UDP"),
        (PORTAL, "reset", {"to": "server"}, "to='server' is for a proxy"),
        (
            PORTAL,
            "certificate",
            {"problem": "expired"},
            "needs TLS with certificates of the portal",
        ),
        (PROXY, "no-terminator", {}, "needs a framing with terminators: give framing="),
        (BLOCKS, "no-terminator", {}, "with terminators: framing 'fixed:8' has none"),
        (BLOCKS_BACK, "no-terminator", {}, "with terminators: reply_framing 'x' has none"),
        (PROXY, "slice", {}, "slice at=middle needs framing=; or give at=BYTE or every=BYTES"),
        (PROXY, "slice", {"at": "before-lf"}, "slice at=before-lf needs framing="),
        (PROXY, "coalesce", {"replies": 2}, "coalesce replies needs framing=; without it only sec"),
        (TCP_PROXY, "corrupt", {}, "corrupt without at needs framing=: give at=BYTE"),
        (PROXY, "corrupt", {}, "give at=BYTE, or transport='udp'"),
        (
            PROXY,
            "reset",
            {"when": "before", "match": lambda _: True},
            "a regular expression or a predicate cannot be decided before the request's end",
        ),
        (
            PROXY,
            "reset",
            {"reply_match": lambda _: True},
            "without a framing reply_match must be a substring",
        ),
        (LINES, "no-terminator", {"unit": "connection"}, "leave out unit='connection'"),
        (PROXY, "no-terminator", {"unit": "connection"}, "leave out unit='connection'"),
        (PORTAL, "slice", {"unit": "connection"}, "or give at=BYTE or every=BYTES"),
        (LINES, "coalesce", {"unit": "connection"}, "needs the end of a reply"),
        (LINES, "corrupt", {"unit": "connection"}, "or give at=BYTE"),
    ],
)
def test_what_makes_no_sense(where: Place, kind: str, options: dict[str, Any], error: str) -> None:
    faults = FaultRegistry(where)
    with pytest.raises(FaultError) as caught:
        faults.place(Fault.create(kind, **options))
    assert error in str(caught.value)
    assert faults.in_force == []


@cases(
    ("where", "kind", "options"),
    [
        (PORTAL, "reset", {"service": "echo"}),
        (PORTAL, "no-terminator", {}),
        (PORTAL_WITH_CERTIFICATES, "certificate", {"problem": "expired"}),
        (PORTAL, "slice", {}),
        (PORTAL, "corrupt", {}),
        (PORTAL, "coalesce", {"replies": 3}),
        (PORTAL, "reset", {"when": "before", "match": lambda _: True}),
        (PORTAL, "reset", {"reply_match": lambda _: True}),
        (PROXY, "reset", {"to": "server"}),
        (PROXY, "drop", {"age": 1}),
        (PROXY, "reset", {"match": lambda _: True}),
        (PROXY, "reset", {"when": "before", "match": "GET"}),
        (PROXY, "reset", {"reply_match": "OK"}),
        (PROXY, "slice", {"at": 3}),
        (PROXY, "slice", {"every": 3}),
        (PROXY, "slice", {"every": 3, "unit": "connection"}),
        (PROXY, "coalesce", {"seconds": 1}),
        (PROXY, "corrupt", {"at": 0}),
        (PROXY, "corrupt", {"transport": "udp"}),
        (UDP_PROXY, "corrupt", {}),
        (UDP_PROXY, "truncate", {"reply_match": lambda _: True}),
        (LINES, "no-terminator", {}),
        (BLOCKS, "slice", {}),
        (BLOCKS, "corrupt", {}),
    ],
)
def test_what_makes_sense(where: Place, kind: str, options: dict[str, Any]) -> None:
    fault = FaultRegistry(where).place(Fault.create(kind, **options))
    assert fault.number == 1
