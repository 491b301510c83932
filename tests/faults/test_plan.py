"""The plan of each fault for a reply."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esps_portal.faults.actions import Action, End, Hold, OtherWay, Pause, Send
from esps_portal.faults.connection_faults import ConnectionFaults
from esps_portal.faults.datagram_plan import DatagramPlan, pad_line
from esps_portal.faults.effects import Piece
from esps_portal.faults.fault import Fault
from esps_portal.faults.fault_registry import FaultRegistry
from esps_portal.faults.lazy_plan import actions_at_once
from esps_portal.faults.lazy_plan import plan_of as plan_of_parts
from esps_portal.faults.plan import FaultPlan
from esps_portal.faults.target import FaultTarget, MissReason, Stage
from tests.faults.timelines import STREAM, UNIT, Timeline, other_way

LINE = b"a OK xxx\n"
DATA = b"a DATA 1\n"
LATE = Pause(2, since_arrival=True)
FIN = End("close")


def actions(kind: str, **options: Any) -> list[Action]:  # noqa: ANN401 - of any fault
    return FaultPlan.of(Fault.create(kind, **options)).line(LINE, final=True)


@pytest.mark.parametrize(
    ("kind", "options", "expected"),
    [
        ("latency", {"seconds": 2}, [LATE, Send(LINE)]),
        (
            "slice",
            {"pause": 1},
            [Send(b"a OK"), Pause(1, since_arrival=False), Send(b" xxx\n")],
        ),
        ("slice", {"at": "before-lf", "pause": 1}, [Send(b"a OK xxx"), Pause(1), Send(b"\n")]),
        ("slice", {"at": 1, "pause": 1}, [Send(b"a"), Pause(1), Send(b" OK xxx\n")]),
        ("slice", {"at": 99, "pause": 1}, [Send(LINE)]),
        ("coalesce", {"replies": 3, "seconds": 1}, [Hold(LINE, 3, 1, final=True)]),
        ("coalesce", {"replies": 1}, [Send(LINE)]),
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
    assert plan.line(LINE, final=True) == []


def test_a_plan_has_begun_once_it_has_acted() -> None:
    plans = [FaultPlan.of(Fault.create("reset", when=when)) for when in ("before", "after")]
    assert [plan.has_begun for plan in plans] == [False, False]
    plans[0].before()
    plans[1].line(LINE, final=True)
    assert [plan.has_begun for plan in plans] == [True, True]


def test_what_strikes_while_nothing_is_sent() -> None:
    assert actions_at_once(Fault.create("reset")) == [End("reset")]
    deaf = Fault.create("deaf")
    plan = plan_of_parts(placed(Fault.create("reset"), deaf).parts(FaultTarget("tcp", "a")))
    assert plan.feed(Piece(b"")) == [End("reset")]
    assert deaf.happened == 0


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
        ("oversize", {"bytes": 11}, DatagramPlan((b"a OK xxx x\n",))),
        ("oversize", {"bytes": 10}, DatagramPlan((LINE,))),  # there is no shorter argument
        ("wrong-source", {}, DatagramPlan((LINE,), from_other_port=True)),
    ],
)
def test_a_datagram(kind: str, options: dict[str, Any], expected: DatagramPlan) -> None:
    plan = FaultPlan.of(Fault.create(kind, **options))
    plan.delay_before()
    assert plan.datagram(LINE, pad_line) == expected


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


# -- several faults on one unit


def composed(pieces: Sequence[bytes], *faults: Fault) -> Timeline:
    plan = FaultPlan.of(*faults)
    actions: list[Action] = []
    for piece in pieces:
        actions += plan.feed(Piece(piece))
    return Timeline.of(actions)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (("latency", {"seconds": 2}), ("reset", {}), [LATE, End("reset")]),
        (("reset", {}), ("latency", {"seconds": 2}), [End("reset")]),
        (("patch", {"at": 2, "hex": "2323"}), ("truncate", {"bytes": 3}), [Send(b"a #"), FIN]),
        (
            ("slice", {"at": 4, "pause": 1}),
            ("patch", {"at": 3, "hex": "2323"}),
            [Send(b"a O#"), Pause(1), Send(b"#xxx\n")],
        ),
        (("close", {"offset": 3}), ("reset", {}), [End("reset")]),
        (("slice", {"at": 4, "pause": 1}), ("reset", {}), [End("reset")]),
        (("latency", {"seconds": 2}), ("deaf", {}), [LATE, End("deaf"), Send(LINE)]),
        (("deaf", {}), ("latency", {"seconds": 2}), [End("deaf"), LATE, Send(LINE)]),
        (
            ("deaf", {}),
            ("truncate", {"bytes": 3}),
            [End("deaf"), Send(b"a O"), End("close")],
        ),
        (("slice", {"at": 4, "pause": 1}), ("no-terminator", {}), None),
    ],
)
def test_two(
    first: tuple[str, dict[str, Any]],
    second: tuple[str, dict[str, Any]],
    expected: list[Action] | None,
) -> None:
    faults = [Fault.create(kind, **options) for kind, options in (first, second)]
    found = FaultPlan.of(*faults).line(LINE, final=True)
    assert found == (expected or [Send(b"a OK"), Pause(1), Send(b" xxx")])


def test_only_the_last_piece_of_a_cut_line_has_its_terminator() -> None:
    plan = FaultPlan.of(Fault.create("slice", at=4, pause=1), Fault.create("corrupt", bytes=99))
    first, _, last = plan.line(LINE, final=True)
    assert isinstance(first, Send)
    assert all(a != b for a, b in zip(first.data, LINE[:4], strict=True))
    assert last == Send(LINE[4:])  # of a cut frame only the first piece is corrupted


@given(
    cases=st.lists(st.sampled_from(STREAM), min_size=2, max_size=3),
    offsets=st.lists(st.integers(0, 12), min_size=3, max_size=3),
    cuts=st.sets(st.integers(1, 25)),
)
@settings(max_examples=400)
def test_several_strike_at_the_same_bytes_in_any_pieces(
    cases: list[tuple[str, dict[str, Any]]], offsets: list[int], cuts: set[int]
) -> None:
    faults = [
        Fault.create(kind, offset=offset, **options)
        for (kind, options), offset in zip(cases, offsets, strict=False)
    ]
    pieces = [UNIT[a:b] for a, b in itertools.pairwise([0, *sorted(cuts), 26])]
    whole = composed([UNIT], *faults)
    assert composed(pieces, *faults) == whole
    assert composed([UNIT[n : n + 1] for n in range(26)], *faults) == whole


@pytest.mark.parametrize("pieces", [[UNIT], [UNIT[:4], UNIT[4:]], [bytes([b]) for b in UNIT]])
@pytest.mark.parametrize("options", [{"offset": 5}, {"reply_match": "EFG"}])
@pytest.mark.parametrize("end", ["reset", "truncate"])
def test_what_comes_after_an_end_is_struck_by_nothing(
    pieces: list[bytes], options: dict[str, Any], end: str
) -> None:
    later, patch, first = (
        Fault.create("close", times=1, **options),
        Fault.create("patch", at=4, hex="23"),
        Fault.create("reset", offset=3) if end == "reset" else Fault.create("truncate", bytes=3),
    )
    ended = Timeline(b"ABC", [(3, End("reset") if end == "reset" else FIN)])
    assert composed(pieces, later, patch, first) == ended
    assert [fault.happened for fault in (later, patch, first)] == [0, 0, 1]
    assert later.claim()


def test_the_bytes_that_an_end_has_to_find_are_the_last_that_any_fault_sees() -> None:
    patch, end = Fault.create("patch", at=4, hex="23"), Fault.create("reset", reply_match="CD")
    assert composed([UNIT], patch, end) == Timeline(b"ABC", [(3, End("reset"))])
    assert (patch.happened, end.happened) == (0, 1)


def test_an_end_that_cannot_claim_the_unit_leaves_it_to_a_later_one() -> None:
    used_up, other = Fault.create("close", offset=3, times=1), Fault.create("reset", offset=5)
    plan = FaultPlan.of(used_up, other)
    assert used_up.claim()
    assert plan.feed(Piece(UNIT)) == [Send(b"ABCDE"), End("reset")]
    assert (used_up.happened, other.happened) == (0, 1)


def test_of_two_ends_within_a_line_only_the_first_strikes() -> None:
    later, first = Fault.create("close", offset=5), Fault.create("reset", offset=3)
    plan = FaultPlan.of(later, first)
    assert plan.line(LINE, final=True) == [Send(b"a O"), End("reset")]
    assert (later.happened, first.happened) == (0, 1)


# -- what a part waits for, and claims


def placed(*faults: Fault) -> FaultRegistry:
    made = FaultRegistry()
    for fault in faults:
        made.place(fault)
    return made


def plan_of(faults: FaultRegistry) -> FaultPlan:
    plan = faults.plan(FaultTarget("tcp", "a", b"echo"))
    assert plan is not None
    return plan


def test_of_a_reply_that_is_held_in_pieces_the_last_one_ends_it() -> None:
    coalesce = Fault.create("coalesce", replies=2, seconds=1)
    plan = plan_of(placed(coalesce, Fault.create("slice", at=2, pause=3)))
    first, last = Hold(LINE[:2], 2, 1, final=False), Hold(LINE[2:], 2, 1, final=True)
    assert plan.line(LINE, final=True) == [first, Pause(3), last]


def test_a_gate_opens_at_the_last_byte_of_a_match() -> None:
    """Whatever the pieces; what came before has passed."""
    for pieces in ([UNIT], [UNIT[:3], UNIT[3:5], UNIT[5:]], [bytes([b]) for b in UNIT]):
        found = composed(pieces, Fault.create("reset", reply_match="CDEF"))
        assert found == Timeline(b"ABCDE", [(5, End("reset"))])


def test_a_gate_of_lines_opens_at_the_start_of_a_line() -> None:
    plan = FaultPlan.of(Fault.create("truncate", reply_match="OK", bytes=2))
    assert plan.line(DATA, final=False) == [Send(DATA)]
    assert plan.line(LINE, final=True) == [Send(b"a "), End("close")]


def test_an_offset_behind_a_gate_counts_from_the_match() -> None:
    for pieces in ([UNIT], [UNIT[:6], UNIT[6:]], [bytes([b]) for b in UNIT]):
        found = composed(pieces, Fault.create("reset", reply_match="CDEF", offset=3))
        assert found == Timeline(b"ABCDEFGH", [(8, End("reset"))])


def test_a_reply_that_matches_twice_is_counted_once() -> None:
    fault = Fault.create("reset", reply_match="OK", reply=2)
    faults = placed(fault)
    plan = plan_of(faults)
    for final in (False, True):
        assert plan.line(LINE, final=final) == [Send(LINE)]
    assert plan_of(faults).line(LINE, final=True) == [End("reset")]


def test_a_unit_that_could_not_be_claimed_explains_nothing() -> None:
    fault = Fault.create("reset", offset=3, times=1)
    faults = placed(fault)
    (part,) = faults.parts(FaultTarget("tcp", "a"))
    assert fault.claim()
    assert FaultPlan([part]).feed(Piece(UNIT)) == [Send(UNIT)]
    part.explain(is_whole=True)
    assert fault.nearest is not None
    assert fault.nearest.reason is MissReason.NO_REPLY


def test_what_does_not_match_claims_nothing() -> None:
    fault = Fault.create("close", reply_match="OK", times=1)
    faults = placed(fault)
    plan = plan_of(faults)
    assert plan.line(DATA, final=True) == [Send(DATA)]
    assert fault.nearest is not None
    assert fault.nearest.reason is MissReason.REPLY_MATCH
    assert plan_of(faults).line(LINE, final=True) == [End("close")]
    last = plan_of(faults)
    assert last.line(LINE, final=True) == [Send(LINE)]
    assert fault.happened == 1


@pytest.mark.parametrize(
    "given_",
    [
        {"kind": "reset", "offset": 12},
        {"kind": "patch", "at": 9, "hex": "23"},
        {"kind": "slice", "at": 9},
        {"kind": "slice", "every": 9},
    ],
)
def test_a_claim_is_given_back(given_: dict[str, Any]) -> None:
    """With times=1 a longer reply is struck later."""
    fault = Fault.create(given_.pop("kind"), times=1, **given_)
    faults = placed(fault)
    for _ in range(3):
        assert plan_of(faults).line(LINE, final=True) == [Send(LINE)]
    assert fault.happened == 0
    assert fault.nearest is not None
    nearest = fault.nearest
    assert (nearest.reason, nearest.reply_size, nearest.found_at) == (MissReason.NO_CHANGE, 9, 0)
    long = b"a OK " + b"x" * 20 + b"\n"
    plan_of(faults).line(long, final=True)
    assert fault.happened == 1
    last = faults.plan(FaultTarget("tcp", "a"))
    assert last is None or last.line(long, final=True) == [Send(long)]
    assert fault.happened == 1


def test_a_claim_is_given_back_when_the_connection_ends_within_the_reply() -> None:
    fault = Fault.create("patch", at=50, hex="23", times=1)
    faults = placed(fault)
    plan = plan_of(faults)
    plan.line(DATA, final=False)
    plan.finish(is_whole=False)
    plan.finish(is_whole=False)  # once more does nothing
    assert faults.plan(FaultTarget("tcp", "a")) is not None
    assert faults.plan(FaultTarget("tcp", "a")) is None


def test_what_another_fault_has_ended_first_is_no_short_reply() -> None:
    reset, late = Fault.create("reset"), Fault.create("latency", seconds=1)
    plan_of(placed(reset, late)).line(LINE, final=True)
    assert late.nearest is not None
    assert late.nearest.reason is MissReason.NO_REPLY


def test_parts_of_a_connection_act_in_the_order_of_placing() -> None:
    whole = Fault.create("patch", unit="connection", at=12, hex="2323")
    faults = placed(whole, Fault.create("patch", at=3, hex="2424"))
    target = FaultTarget("tcp", "a", stage=Stage.CONNECTION, number=0)
    unit = ConnectionFaults(faults, lambda: target)
    found = b""
    for _ in range(2):
        plan = plan_of(faults)
        plan.include(unit.parts())
        found += b"".join(
            action.data for action in plan.line(LINE, final=True) if isinstance(action, Send)
        )
    assert found == b"a O$$xxx\na O$$xxx\n"  # it came first, so that the other has the last word
    assert whole.happened == 1


def test_a_fault_of_a_connection_counts_its_bytes_over_all_replies() -> None:
    fault = Fault.create("truncate", unit="connection", bytes=12)
    faults = placed(fault)
    target = FaultTarget("tcp", "a", stage=Stage.CONNECTION, number=0)
    unit = ConnectionFaults(faults, lambda: target)
    found = []
    for _ in range(3):
        plan = FaultPlan(())
        plan.include(unit.parts())
        found.append(plan.line(LINE, final=True))
    assert found == [[Send(LINE)], [Send(b"a O"), End("close")], []]


def test_a_removed_fault_of_a_connection_acts_no_more_and_says_why() -> None:
    fault = Fault.create("reset", unit="connection", offset=12, times=1)
    faults = placed(fault)
    target = FaultTarget("tcp", "a", stage=Stage.CONNECTION, number=0)
    unit = ConnectionFaults(faults, lambda: target)
    plan = FaultPlan(unit.parts())
    assert plan.line(LINE, final=True) == [Send(LINE)]
    faults.remove(fault)
    assert unit.parts() == []
    assert fault.nearest is not None
    assert (fault.nearest.reason, fault.nearest.reply_size) == (MissReason.NO_CHANGE, 9)


def test_what_a_reply_that_goes_on_has_been_so_far() -> None:
    fault = Fault.create("patch", at=50, hex="23")
    (part,) = placed(fault).parts(FaultTarget("tcp", "a"))
    plan = FaultPlan([part])
    part.explain()  # nothing has come of it
    assert fault.nearest is not None
    assert (fault.nearest.reason, fault.nearest.reply_size) == (MissReason.NO_REPLY, 0)
    plan.line(LINE, final=False)
    part.explain()
    assert (fault.nearest.reason, fault.nearest.reply_size) == (MissReason.NO_CHANGE, len(LINE))


def test_a_connection_on_which_nothing_was_sent() -> None:
    fault = Fault.create("patch", unit="connection", at=12, hex="23")
    unit = ConnectionFaults(
        placed(fault), lambda: FaultTarget("tcp", "a", stage=Stage.CONNECTION, number=0)
    )
    assert len(unit.parts()) == 1
    unit.finish()
    assert fault.nearest is not None
    assert (fault.nearest.reason, fault.nearest.reply_size) == (MissReason.NO_CHANGE, 0)


def test_before_the_request_passes_nothing_of_it() -> None:
    """An end in place of it goes the other way: to the client."""
    for kind in ("reset", "deaf", "garbage"):
        plan = FaultPlan.of(Fault.create(kind, when="before"))
        found = plan.feed(Piece(b"GET"))
        assert [type(action) for action in found] == [OtherWay]
        assert other_way(found)[-1] == End("close" if kind == "garbage" else kind)
        assert plan.feed(Piece(b"more")) == []


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_what_an_end_before_the_request_forestalls_gives_its_claim_back(transport: str) -> None:
    end, late = ("reset", "latency") if transport == "tcp" else ("drop", "delay")
    first = Fault.create(end, when="before", times=1)
    second = Fault.create(late, when="before", seconds=2, times=1)
    faults = placed(first, second)
    plans = []
    for _ in range(2):
        plan = faults.plan(FaultTarget(transport, "a"))
        assert plan is not None
        plans.append(plan.before() if transport == "tcp" else plan.delay_before())
        assert second.nearest is not None
        assert second.nearest.reason is MissReason.NO_REPLY
    assert plans == ([[End("reset")], [Pause(2)]] if transport == "tcp" else [None, 2])
    assert (first.happened, second.happened) == (1, 1)


@pytest.mark.parametrize("kind", ["close", "reset", "half-close", "stall", "deaf"])
def test_in_place_of_a_request_that_comes_in_pieces_it_acts_once(kind: str) -> None:
    plan = FaultPlan.of(Fault.create(kind, when="before"))
    assert plan.feed(Piece(b"re")) == [OtherWay((End(kind),))]
    assert plan.feed(Piece(b"que")) == []
    assert plan.feed(Piece(b"st", ends_unit=True)) == []
