"""The vocabulary of faults: what it does not hold is an error that names the key."""

from __future__ import annotations

import math
from typing import Any

import pytest

from esps_portal.portal.faults import Fault
from esps_portal.portal.vocabulary import VOCABULARY, FaultError
from esps_portal.portal.wreckage import Wreckage, wreck_datagram

NEEDED = {
    "latency": {"seconds": 1},
    "delay": {"seconds": 1},
    "bandwidth": {"bytes_per_second": 100},
}


@pytest.mark.parametrize("kind", VOCABULARY)
def test_every_word_means_something(kind: str) -> None:
    """Each is decided by the one function of its transport, and no other word is."""
    word = VOCABULARY[kind]
    assert word.meaning
    assert word.transports <= {"tcp", "udp"}
    fault = Fault.of(kind, **NEEDED.get(kind, {}))
    assert str(fault).startswith(kind)
    if "tcp" in word.transports and kind != "accept-close":
        assert Wreckage(fault).line(b"a OK x\n", final=True)
        if word.before:
            assert Wreckage(Fault.of(kind, when="before", **NEEDED.get(kind, {}))).before()
    if "udp" in word.transports:
        assert wreck_datagram(fault, b"a OK x\n") is not None


@pytest.mark.parametrize(
    ("kind", "said", "words"),
    [
        ("half_close", {}, "there is no fault 'half_close'; did you mean 'half-close'? There are"),
        ("explode", {}, "there is no fault 'explode'; there are latency, bandwidth"),
        ("Reset", {}, "there is no fault 'Reset'"),
        ("", {}, "there is no fault ''"),
        # selectors
        ("reset", {"when": "during"}, "when is before or after, not 'during'"),
        ("reset", {"when": None}, "when is before or after, not None"),
        ("slice", {"when": "before"}, "slice affects a reply"),
        (
            "accept-close",
            {"when": "before"},
            "accept-close comes before any request: it takes no when",
        ),
        ("reset", {"transport": "udp"}, "reset is a fault of tcp: it has no transport 'udp'"),
        ("drop", {"transport": "tcp"}, "drop is a fault of udp: it has no transport 'tcp'"),
        ("truncate", {"transport": "quic"}, "a fault of tcp and udp: it has no transport 'quic'"),
        ("truncate", {"transport": 6}, "it has no transport 6"),
        ("reset", {"service": ""}, "service is a name (a-z, then a-z 0-9 - . _), not ''"),
        ("reset", {"service": b"echo"}, "service is a name (a-z, then a-z 0-9 - . _), not b'echo'"),
        ("reset", {"service": "No such"}, "service is a name"),
        ("accept-close", {"service": "echo"}, "it takes no service"),
        ("accept-close", {"request": 1}, "it takes no request"),
        ("reset", {"connection": 0}, "connection is a number from 1 on"),
        ("reset", {"connection": "1"}, "connection is a number from 1 on"),
        ("reset", {"connection": []}, "connection is a number from 1 on"),
        ("reset", {"request": -1}, "request is a number from 1 on"),
        ("reset", {"request": True}, "request is a number from 1 on"),
        ("reset", {"request": [1, 2.0]}, "request is a number from 1 on"),
        ("reset", {"request": range(0)}, "request is a number from 1 on"),
        ("reset", {"times": 0}, "times is a number from 1 on, not 0"),
        ("reset", {"times": True}, "times is a number from 1 on, not True"),
        ("reset", {"times": "2"}, "times is a number from 1 on, not '2'"),
        ("reset", {"chance": 1.1}, "chance is a number from 0 to 1, not 1.1"),
        ("reset", {"chance": -0.1}, "chance is a number from 0 to 1"),
        ("reset", {"chance": True}, "chance is a number from 0 to 1, not True"),
        ("reset", {"chance": "0.5"}, "chance is a number from 0 to 1"),
        ("reset", {"chance": math.nan}, "chance is a number from 0 to 1"),
        ("reset", {"seed": 1}, "seed goes with chance"),
        ("latency", {"seconds": 1, "seed": 1}, "seed goes with chance, or with jitter"),
        ("reset", {"chance": 0.5, "seed": "x"}, "seed is a whole number, not 'x'"),
        # parameters
        (
            "reset",
            {"seconds": 1},
            "reset takes no seconds; it takes service, transport, connection",
        ),
        ("slice", {"cut": 1}, "slice takes no cut; it takes at, pause, service, transport"),
        ("latency", {}, "latency needs seconds"),
        ("delay", {"jitter": 1}, "delay needs seconds"),
        ("bandwidth", {}, "bandwidth needs bytes_per_second"),
        ("latency", {"seconds": "1"}, "latency: seconds is a number, not '1'"),
        ("latency", {"seconds": True}, "latency: seconds is a number, not True"),
        ("latency", {"seconds": math.inf}, "latency: seconds is a number, not inf"),
        ("latency", {"seconds": math.nan}, "latency: seconds is a number, not nan"),
        ("latency", {"seconds": 10**400}, "latency: seconds is a number"),
        ("latency", {"seconds": -1}, "latency: seconds is 0 at least, not -1"),
        ("latency", {"seconds": 1, "jitter": -1}, "latency: jitter is 0 at least"),
        ("bandwidth", {"bytes_per_second": 0}, "bytes_per_second is 1 at least"),
        ("slice", {"at": "end"}, "slice: at is a number, middle or before-lf, not 'end'"),
        ("slice", {"at": 0}, "slice: at is 1 at least, not 0"),
        ("slice", {"at": 1.5}, "slice: at is a whole number, not 1.5"),
        ("slice", {"pause": -1}, "slice: pause is 0 at least"),
        ("coalesce", {"replies": 0}, "coalesce: replies is 1 at least"),
        ("coalesce", {"seconds": -1}, "coalesce: seconds is 0 at least"),
        ("truncate", {"bytes": -1}, "truncate: bytes is 0 at least"),
        ("garbage", {"bytes": 65508}, "garbage: bytes is 65507 at most"),
        ("garbage", {"seed": 1.5}, "seed is a whole number"),
        ("corrupt", {"bytes": 0}, "corrupt: bytes is 1 at least"),
        ("duplicate", {"copies": 0}, "duplicate: copies is 1 at least"),
        ("duplicate", {"copies": 10**9}, "duplicate: copies is 65507 at most"),
        ("reorder", {"replies": 0}, "reorder: replies is 1 at least"),
        ("oversize", {"bytes": 65508}, "oversize: bytes is 65507 at most"),
    ],
)
def test_what_it_does_not_hold(kind: str, said: dict[str, Any], words: str) -> None:
    with pytest.raises(FaultError) as caught:
        Fault.of(kind, **said)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "kind", [k for k, word in VOCABULARY.items() if not word.before and k != "accept-close"]
)
def test_what_shapes_a_reply_comes_after(kind: str) -> None:
    with pytest.raises(FaultError, match="when is after"):
        Fault.of(kind, when="before", **NEEDED.get(kind, {}))
