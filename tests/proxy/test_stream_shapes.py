"""Each fault of a stream that shapes it: what comes at the plain socket of the side it names.

Every test runs with units that come whole, byte by byte and in random pieces.
"""

from __future__ import annotations

import time
from typing import Any

import pytest

from esps_portal.framings.delimiters import lines
from tests.clocks import PortalClock
from tests.proxy.struck import UNIT, both_ways, place
from tests.threaded_proxies import DELIVERIES, Sending, ThreadedProxy, threaded_proxy


@both_ways
@pytest.mark.parametrize(
    ("kind", "options", "seen"),
    [
        ("patch", {"at": 6, "hex": "ff00"}, UNIT[:6] + b"\xff\x00" + UNIT[8:]),
        ("patch", {"at": 0, "hex": "41"}, b"A" + UNIT[1:]),
        ("patch", {"at": 17, "hex": "4142"}, UNIT[:17] + b"A"),
        ("patch", {"at": 1, "hex": "4142", "offset": 4}, UNIT[:5] + b"AB" + UNIT[7:]),
    ],
)
def test_patch(  # noqa: PLR0917 - a case
    proxy: ThreadedProxy, send: Sending, to: str, kind: str, options: dict[str, Any], seen: bytes
) -> None:
    on = place(proxy, send, to, kind, **options)
    on.send_unit()
    assert on.named.read(len(UNIT)) == seen
    assert on.fault.happened == 1


@both_ways
def test_corrupt(proxy: ThreadedProxy, send: Sending, to: str) -> None:
    on = place(proxy, send, to, "corrupt", at=6, bytes=3, seed=2)
    on.send_unit()
    seen = on.named.read(len(UNIT))
    assert (seen[:6], seen[9:]) == (UNIT[:6], UNIT[9:])
    assert all(was != now for was, now in zip(UNIT[6:9], seen[6:9], strict=True))


def test_corrupt_changes_to_the_same_bytes_however_they_come() -> None:
    seen = set()
    for delivery in DELIVERIES:
        with threaded_proxy() as proxy:
            on = place(proxy, Sending(proxy, delivery), "client", "corrupt", at=2, bytes=9, seed=2)
            on.send_unit()
            seen.add(on.named.read(len(UNIT)))
    assert len(seen) == 1


@both_ways
def test_latency(clock: PortalClock, proxy: ThreadedProxy, send: Sending, to: str) -> None:
    on = place(proxy, send, to, "latency", seconds=2, times=1)
    on.send_unit()
    proxy.quiet()
    assert on.named.has_nothing()
    clock.jump(2)
    assert on.named.read(len(UNIT)) == UNIT
    on.end_has_passed()


@both_ways
def test_two_latencies_add_up(
    clock: PortalClock, proxy: ThreadedProxy, send: Sending, to: str
) -> None:
    proxy.fault("latency", to=to, seconds=3)
    on = place(proxy, send, to, "latency", seconds=2)
    on.send_unit()
    proxy.quiet()
    clock.jump(4)
    proxy.quiet()
    assert on.named.has_nothing()
    clock.jump(1)
    assert on.named.read(len(UNIT)) == UNIT


@both_ways
def test_bandwidth(proxy: ThreadedProxy, send: Sending, to: str) -> None:
    rate = 200
    on = place(proxy, send, to, "bandwidth", bytes_per_second=rate)
    begun = time.monotonic()
    on.send_unit()
    assert on.named.read(len(UNIT)) == UNIT
    took = time.monotonic() - begun
    assert took >= len(UNIT) / rate


@both_ways
def test_bandwidth_is_not_slower_for_pauses_that_end_late(
    clock: PortalClock, proxy: ThreadedProxy, send: Sending, to: str
) -> None:
    rate = 200  # 4 bytes in each fiftieth of a second
    on = place(proxy, send, to, "bandwidth", bytes_per_second=rate)
    on.send_unit()
    for _ in range(5):
        proxy.quiet()
        clock.jump(len(UNIT) / rate / 5 + 0.001)
    proxy.quiet()
    assert on.named.read(len(UNIT)) == UNIT


@both_ways
def test_slice_at_a_byte(clock: PortalClock, proxy: ThreadedProxy, send: Sending, to: str) -> None:
    on = place(proxy, send, to, "slice", at=7, pause=2)
    on.send_unit()
    head = on.named.read(7)
    proxy.quiet()
    assert on.named.has_nothing()
    clock.jump(2)
    assert head + on.named.read(len(UNIT) - 7) == UNIT


@both_ways
def test_slice_every(clock: PortalClock, proxy: ThreadedProxy, send: Sending, to: str) -> None:
    on = place(proxy, send, to, "slice", every=6, pause=2)
    on.send_unit()
    *pieces, last = (UNIT[start : start + 6] for start in range(0, len(UNIT), 6))
    for piece in pieces:
        assert on.named.read(6) == piece
        proxy.quiet()
        assert on.named.has_nothing()
        clock.jump(2)
    assert on.named.read(len(last)) == last


@both_ways
def test_coalesce(clock: PortalClock, proxy: ThreadedProxy, send: Sending, to: str) -> None:
    on = place(proxy, send, to, "coalesce", seconds=2)
    on.send_unit()
    proxy.quiet()
    assert on.named.has_nothing()
    clock.jump(2)
    assert on.named.sock.recv(100) == UNIT  # at once
    assert on.fault.happened == 1


# ---- what needs a framing ----------------------------------------------------------------------


@pytest.mark.parametrize("delivery", DELIVERIES)
@pytest.mark.parametrize(
    ("kind", "options", "seen"),
    [
        ("no-terminator", {}, UNIT[:-2]),
        ("slice", {"at": "before-lf", "pause": 0}, UNIT),
        ("slice", {"at": "middle", "pause": 0}, UNIT),
    ],
)
def test_with_lines(delivery: str, kind: str, options: dict[str, Any], seen: bytes) -> None:
    with threaded_proxy(lines("\r\n")) as proxy:
        on = place(proxy, Sending(proxy, delivery), "client", kind, times=1, **options)
        on.send_unit()
        on.other.send(b"next\r\n")
        assert on.named.read(len(seen) + 6) == seen + b"next\r\n"
        assert on.fault.happened == 1
