"""The plan of each fault for a reply."""

from __future__ import annotations

from typing import Any

import pytest

from esps_portal.faults.actions import Action, End, Hold, Pause, Send
from esps_portal.faults.datagram_plan import DatagramPlan, pad_line
from esps_portal.faults.fault import Fault
from esps_portal.faults.plan import FaultPlan

LINE = b"a OK xxx\n"
DATA = b"a DATA 1\n"
LATE = Pause(2, since_arrival=True)


def actions(kind: str, **options: Any) -> list[Action]:  # noqa: ANN401 - of any fault
    return FaultPlan.of(Fault.create(kind, **options)).line(LINE, final=True)


@pytest.mark.parametrize(
    ("kind", "options", "expected"),
    [
        ("latency", {"seconds": 2}, [LATE, Send(LINE)]),
        ("slice", {"pause": 1}, [Send(b"a OK"), Pause(1), Send(b" xxx\n")]),
        ("slice", {"at": "before-lf", "pause": 1}, [Send(b"a OK xxx"), Pause(1), Send(b"\n")]),
        ("slice", {"at": 1, "pause": 1}, [Send(b"a"), Pause(1), Send(b" OK xxx\n")]),
        ("slice", {"at": 99, "pause": 1}, [Send(LINE)]),
        ("coalesce", {"replies": 3, "seconds": 1}, [Hold(LINE, 3, 1, final=True)]),
        ("close", {}, [End("close")]),
        ("reset", {}, [End("reset")]),
        ("half-close", {}, [End("half-close")]),
        ("stall", {}, [End("stall")]),
        ("truncate", {"bytes": 3}, [Send(b"a O"), End("close")]),
        ("truncate", {"bytes": 0}, [End("close")]),
        ("truncate", {"bytes": 99}, [Send(LINE), End("close")]),
        ("no-terminator", {}, [Send(LINE[:-1])]),
    ],
)
def test_one_line(kind: str, options: dict[str, Any], expected: list[Action]) -> None:
    assert actions(kind, **options) == expected


def test_a_rate_waits_before_each_piece() -> None:
    found = actions("bandwidth", bytes_per_second=100)
    assert b"".join(action.data for action in found if isinstance(action, Send)) == LINE
    assert isinstance(found[0], Pause)
    waited = sum(action.seconds for action in found if isinstance(action, Pause))
    assert waited == pytest.approx(len(LINE) / 100)


def test_garbage_is_the_same_for_the_same_seed() -> None:
    (one, end), (same, _) = actions("garbage", seed=1), actions("garbage", seed=1)
    (other, _) = actions("garbage", seed=2)
    assert isinstance(one, Send)
    assert len(one.data) == 64
    assert one == same != other
    assert end == End("close")


@pytest.mark.parametrize(
    ("kind", "options", "first", "second", "last"),
    [
        (
            "latency",
            {"seconds": 2},
            [Pause(2, since_arrival=True), Send(DATA)],
            [Send(DATA)],
            [Send(LINE)],
        ),
        ("close", {}, [End("close")], [], []),
        ("truncate", {"bytes": 3}, [Send(DATA[:3]), End("close")], None, None),
        (
            "truncate",
            {"bytes": 11},
            [Send(DATA)],
            [Send(b"a "), End("close")],
            None,
        ),
        ("truncate", {"bytes": 99}, [Send(DATA)], [Send(DATA)], [Send(LINE), End("close")]),
        ("no-terminator", {}, [Send(DATA)], [Send(DATA)], [Send(LINE[:-1])]),
    ],
)
def test_a_stream(
    kind: str,
    options: dict[str, Any],
    first: list[Action],
    second: list[Action] | None,
    last: list[Action] | None,
) -> None:
    plan = FaultPlan.of(Fault.create(kind, **options))
    assert plan.line(DATA, final=False) == first
    if second is not None:
        assert plan.line(DATA, final=False) == second
    if last is not None:
        assert plan.line(LINE, final=True) == last


@pytest.mark.parametrize("kind", ["close", "reset", "half-close", "stall"])
def test_before(kind: str) -> None:
    plan = FaultPlan.of(Fault.create(kind, when="before"))
    assert plan.before() == [End(kind)]


def test_late_before_is_not_late_again() -> None:
    plan = FaultPlan.of(Fault.create("latency", when="before", seconds=2))
    assert plan.before() == [Pause(2)]
    assert plan.line(LINE, final=True) == [Send(LINE)]


@pytest.mark.parametrize(
    ("kind", "options", "expected"),
    [
        ("drop", {}, DatagramPlan()),
        ("duplicate", {"copies": 3}, DatagramPlan((LINE,) * 3)),
        ("reorder", {"replies": 2, "seconds": 3}, DatagramPlan((LINE,), delay=3, hold=2)),
        ("delay", {"seconds": 2}, DatagramPlan((LINE,), delay=2)),
        ("delay", {"seconds": 2, "when": "before"}, DatagramPlan((LINE,))),
        ("truncate", {"bytes": 4}, DatagramPlan((b"a OK",))),
        ("truncate", {"bytes": 0}, DatagramPlan((b"",))),
        ("oversize", {"bytes": 12}, DatagramPlan((b"a OK xxx xx\n",))),
        ("oversize", {"bytes": 10}, DatagramPlan((LINE,))),  # there is no shorter argument
        ("wrong-source", {}, DatagramPlan((LINE,), from_other_port=True)),
    ],
)
def test_a_datagram(kind: str, options: dict[str, Any], expected: DatagramPlan) -> None:
    assert FaultPlan.of(Fault.create(kind, **options)).datagram(LINE, pad_line) == expected


@pytest.mark.parametrize("count", [1, 4, 99])
def test_corrupt(count: int) -> None:
    def corrupted(seed: int) -> bytes:
        (datagram,) = (
            FaultPlan.of(Fault.create("corrupt", bytes=count, seed=seed))
            .datagram(LINE, pad_line)
            .datagrams
        )
        return datagram

    changed = sum(a != b for a, b in zip(corrupted(1), LINE, strict=True))
    assert changed == min(count, len(LINE))
    assert corrupted(1) == corrupted(1) != corrupted(2)
