"""The fault types: each has a plan, and a wrong name or value is an error that names it."""

from __future__ import annotations

import math
from typing import Any

import pytest

from esps_portal.faults.datagram_plan import pad_line
from esps_portal.faults.fault import Fault
from esps_portal.faults.fault_types import FAULT_TYPES
from esps_portal.faults.parameters import FaultError
from esps_portal.faults.plan import FaultPlan
from tests.cases import cases

NEEDED: dict[str, dict[str, Any]] = {
    "latency": {"seconds": 1},
    "delay": {"seconds": 1},
    "bandwidth": {"bytes_per_second": 100},
    "patch": {"at": 0, "hex": "ff"},
    "certificate": {"problem": "expired"},
}


@cases("kind", FAULT_TYPES)
def test_every_type_has_a_plan(kind: str) -> None:
    """The plan of its transport knows each type."""
    fault_type = FAULT_TYPES[kind]
    assert fault_type.meaning
    assert fault_type.transports <= {"tcp", "udp"}
    fault = Fault.create(kind, **NEEDED.get(kind, {}))
    assert str(fault).startswith(kind)
    if "tcp" in fault_type.transports and not fault_type.precedes_requests:
        assert FaultPlan.of(fault).line(b"a OK x\n", final=True)
        if fault_type.allows_before:
            assert FaultPlan.of(Fault.create(kind, when="before", **NEEDED.get(kind, {}))).before()
    if "udp" in fault_type.transports:
        assert FaultPlan.of(fault).datagram(b"a OK x\n", pad_line) is not None


@cases(
    ("kind", "options", "message"),
    [
        ("half_close", {}, "unknown fault 'half_close'; did you mean 'half-close'?"),
        ("latncy", {"second": 1}, "unknown fault 'latncy'; did you mean 'latency'?"),
        ("explode", {}, "unknown fault 'explode'; choose from latency, bandwidth, slice, "),
        ("Reset", {}, "unknown fault 'Reset'; did you mean 'reset'?"),
        ("RESET", {}, "unknown fault 'RESET'; did you mean 'reset'?"),
        (b"reset", {}, "unknown fault b'reset'; did you mean 'reset'?"),
        ("", {}, "unknown fault ''; choose from "),
        (None, {}, "unknown fault None; choose from "),
        ([], {}, "unknown fault []; choose from "),
        # the words of other tools
        ("reset_peer", {}, "unknown fault 'reset_peer'; here it is 'reset'"),
        ("EMPTY_RESPONSE", {}, "unknown fault 'EMPTY_RESPONSE'; here it is 'close'"),
        ("loss", {}, "unknown fault 'loss'; here it is 'drop' with chance="),
        ("latency", {"ms": 3}, "fault 'latency' has no parameter 'ms'; here it is seconds"),
        ("reset", {"toxicity": 1}, "fault 'reset' has no parameter 'toxicity'; here it is chance"),
        ("reset", {"ms": 3}, "fault 'reset' has no parameter 'ms'; choose from "),
        # selectors
        ("reset", {"when": "during"}, "when must be 'before' or 'after', got 'during'"),
        ("reset", {"when": None}, "when must be 'before' or 'after', got None"),
        ("slice", {"when": "before"}, "fault 'slice' needs a reply: when must be 'after', got"),
        ("accept-close", {"when": "after"}, "'accept-close' strikes before any request: it has"),
        ("accept-close", {"service": "echo"}, "before any request: it has no service"),
        ("accept-close", {"request": 1}, "before any request: it has no request"),
        ("certificate", {}, "needs problem"),
        ("certificate", {"problem": "old"}, "'expired', 'wrong-name' or 'self-signed', got 'old'"),
        ("certificate", {"problem": 1}, "problem must be 'expired', 'wrong-name' or 'self-signed'"),
        ("certificate", {"problem": "ff"}, "'expired', 'wrong-name' or 'self-signed', got 'ff'"),
        ("certificate", {"problem": "expired", "service": "echo"}, "it has no service"),
        ("close", {"transport": "udp"}, "fault 'close' works over TCP only"),
        ("drop", {"transport": "tcp"}, "fault 'drop' works over UDP only"),
        ("truncate", {"transport": "quic"}, "transport must be 'tcp' or 'udp', got 'quic'"),
        ("truncate", {"transport": 6}, "transport must be 'tcp' or 'udp', got 6"),
        ("reset", {"service": ""}, "service must be a name (a-z, then a-z 0-9 - . _), got ''"),
        ("reset", {"service": b"echo"}, "service must be a name (a-z, then a-z 0-9 - . _), got b"),
        ("reset", {"service": "No such"}, "service must be a name"),
        ("reset", {"service": "\udcff"}, "service must be a name"),
        ("reset", {"connection": 0}, "connection must be a positive integer or several, got 0"),
        ("reset", {"connection": "1"}, "connection must be a positive integer or several, got '1'"),
        ("reset", {"connection": []}, "connection must be a positive integer"),
        ("reset", {"request": -1}, "request must be a positive integer or several, got -1"),
        ("reset", {"request": True}, "request must be a positive integer"),
        ("reset", {"request": [1, 2.0]}, "request must be a positive integer"),
        ("reset", {"request": range(0)}, "request must be a positive integer"),
        ("reset", {"times": 0}, "times must be a positive integer, got 0"),
        ("reset", {"times": True}, "times must be a positive integer, got True"),
        ("reset", {"times": "2"}, "times must be a positive integer, got '2'"),
        ("reset", {"chance": 0}, "chance must be greater than 0 and at most 1, got 0"),
        ("latency", {"seconds": 0}, "latency: seconds or jitter must be greater than 0"),
        ("delay", {"seconds": 0, "jitter": 0.0}, "seconds or jitter must be greater than 0"),
        ("coalesce", {"seconds": 0}, "seconds must be a number of at least 0.001, got 0"),
        ("reorder", {"seconds": 0}, "seconds must be a number of at least 0.001, got 0"),
        ("reset", {"chance": 1.1}, "chance must be greater than 0 and at most 1, got 1.1"),
        ("reset", {"chance": -0.1}, "chance must be greater than 0 and at most 1"),
        ("reset", {"chance": True}, "chance must be greater than 0 and at most 1, got True"),
        ("reset", {"chance": "0.5"}, "chance must be greater than 0 and at most 1"),
        ("reset", {"chance": math.nan}, "chance must be greater than 0 and at most 1"),
        ("reset", {"seed": 1}, "seed needs chance, or jitter"),
        ("latency", {"seconds": 1, "seed": 1}, "seed needs chance, or jitter"),
        ("reset", {"chance": 0.5, "seed": "x"}, "seed must be an integer, got 'x'"),
        # parameters
        ("reset", {"seconds": 1}, "fault 'reset' has no parameter 'seconds'; choose from service,"),
        ("latency", {"second": 1}, "'latency' has no parameter 'second'; did you mean 'seconds'?"),
        ("slice", {"cut": 1}, "fault 'slice' has no parameter 'cut'; choose from at, pause, ever"),
        ("latency", {}, "fault 'latency' needs seconds"),
        ("delay", {"jitter": 1}, "fault 'delay' needs seconds"),
        ("bandwidth", {}, "fault 'bandwidth' needs bytes_per_second"),
        ("latency", {"seconds": "1"}, "'latency': seconds must be a number of at least 0, got '1'"),
        ("latency", {"seconds": True}, "seconds must be a number of at least 0, got True"),
        ("latency", {"seconds": math.inf}, "seconds must be a number of at least 0, got inf"),
        ("latency", {"seconds": math.nan}, "seconds must be a number of at least 0, got nan"),
        ("latency", {"seconds": 10**400}, "seconds must be a number of at least 0, got 1000"),
        ("latency", {"seconds": -1}, "seconds must be a number of at least 0, got -1"),
        ("latency", {"seconds": 1, "jitter": -1}, "jitter must be a number of at least 0"),
        ("bandwidth", {"bytes_per_second": 0}, "bytes_per_second must be a number of at least 1"),
        ("slice", {"at": "end"}, "at must be 'middle', 'before-lf' or a positive integer, got 'e"),
        ("slice", {"at": 0}, "at must be 'middle', 'before-lf' or a positive integer, got 0"),
        ("slice", {"at": 1.5}, "or a positive integer, got 1.5"),
        ("slice", {"every": 2**63}, "every must be a positive integer, got 9223372036854775808"),
        (
            "patch",
            {"at": 0, "hex": "f"},
            "hex must be bytes in hexadecimal, two digits each, got '",
        ),
        ("patch", {"at": 0, "hex": ""}, "hex must be bytes in hexadecimal, two digits each, got '"),
        ("patch", {"at": 0, "hex": b"ff"}, "hex must be bytes in hexadecimal, two digits each"),
        ("slice", {"pause": -1}, "pause must be a number of at least 0"),
        ("coalesce", {"replies": 0}, "replies must be a positive integer, got 0"),
        ("coalesce", {"seconds": -1}, "seconds must be a number of at least 0"),
        ("truncate", {"bytes": -1}, "bytes must be an integer from 0 to 65507, got -1"),
        ("garbage", {"bytes": 65508}, "bytes must be an integer from 1 to 65507, got 65508"),
        ("garbage", {"bytes": 0}, "bytes must be an integer from 1 to 65507, got 0"),
        ("garbage", {"seed": 1.5}, "seed must be an integer, got 1.5"),
        ("garbage", {"seed": -1}, "seed must be an integer of at least 0, got -1"),
        ("corrupt", {"bytes": 0}, "bytes must be an integer from 1 to 65507, got 0"),
        ("duplicate", {"copies": 1}, "copies must be an integer from 2 to 65507, got 1"),
        ("duplicate", {"copies": 10**9}, "copies must be an integer from 2 to 65507"),
        ("reorder", {"replies": 0}, "replies must be a positive integer, got 0"),
        ("oversize", {"bytes": 65508}, "bytes must be an integer from 1 to 65507, got 65508"),
    ],
)
def test_a_wrong_fault_names_what_is_wrong(
    kind: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(FaultError) as caught:
        Fault.create(kind, **options)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "kind",
    [
        k
        for k, fault_type in FAULT_TYPES.items()
        if not (fault_type.allows_before or fault_type.precedes_requests)
    ],
)
def test_a_fault_that_shapes_a_reply_cannot_come_before(kind: str) -> None:
    with pytest.raises(FaultError, match="when must be 'after'"):
        Fault.create(kind, when="before", **NEEDED.get(kind, {}))


@pytest.mark.parametrize(
    ("kind", "name", "default"),
    [
        ("corrupt", "bytes", 1),
        ("oversize", "bytes", 2000),
        ("delay", "jitter", 0.0),
        ("latency", "jitter", 0.0),
        ("coalesce", "replies", 2),
        ("reorder", "replies", 1),
        ("garbage", "seed", 0),
    ],
)
def test_defaults(kind: str, name: str, default: float) -> None:
    assert Fault.create(kind, **NEEDED.get(kind, {})).parameters[name] == default
