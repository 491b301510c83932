"""Selectors by content, reply, age and connection: what they select, count, and refuse."""

from __future__ import annotations

import re
from typing import Any

import pytest

from esps_portal.faults.actions import End
from esps_portal.faults.fault import Fault
from esps_portal.faults.fault_registry import FaultRegistry
from esps_portal.faults.parameters import FaultError
from esps_portal.faults.target import FaultTarget, MissReason, Stage
from tests.cases import cases


def placed(*faults: Fault) -> FaultRegistry:
    made = FaultRegistry()
    for fault in faults:
        made.place(fault)
    return made


def request(said: bytes = b"", on: str = "a", **others: Any) -> FaultTarget:  # noqa: ANN401 - any field
    return FaultTarget("tcp", on, request_data=said, **others)


def strikes(faults: FaultRegistry, target: FaultTarget) -> bool:
    return bool(faults.parts(target))


def reason(fault: Fault) -> MissReason | None:
    return None if fault.nearest is None else fault.nearest.reason


@cases(
    ("kind", "options", "error"),
    [
        ("reset", {"match": ""}, "match must not be empty"),
        ("reset", {"reply_match": b""}, "reply_match must not be empty"),
        ("reset", {"match": 1}, "match must be text, bytes"),
        ("reset", {"reply": -1}, "reply must be an integer of at least 0 or several, got -1"),
        ("reset", {"reply": []}, "reply must be an integer of at least 0 or several, got []"),
        ("reset", {"request": 0}, "request must be a positive integer or several, got 0"),
        ("reset", {"offset": 1.5}, "offset must be a number of bytes, 0 or more, got 1.5"),
        ("reset", {"offset": True}, "offset must be a number of bytes, 0 or more, got True"),
        ("reset", {"age": float("nan")}, "age must be a number of seconds, 0 or more, got nan"),
        ("reset", {"age": float("inf")}, "age must be a number of seconds, 0 or more, got inf"),
        ("reset", {"age": 10**400}, "age must be a number of seconds, 0 or more, got 1000"),
        ("reset", {"age": "3"}, "age must be a number of seconds, 0 or more, got '3'"),
        ("reset", {"to": 3}, "to must be 'client' or 'server', got 3"),
        ("reset", {"to": "server", "reply": 1}, "to='server' strikes the request itself"),
        ("reset", {"to": "server", "reply_match": "x"}, "leave out reply_match"),
        ("reset", {"to": "server", "when": "before"}, "leave out when"),
        ("deaf", {"to": "server"}, "it has no to"),
        ("reset", {"unit": 3}, "unit must be 'connection', got 3"),
        ("reset", {"unit": "connection", "match": "x"}, "match selects replies"),
        ("reset", {"unit": "connection", "when": "before"}, "when selects replies"),
        ("reset", {"reply": 0, "service": "echo"}, "leave out either it or service"),
        ("reset", {"reply": [0, 1], "request": 1}, "leave out either it or request"),
        ("reset", {"when": "before", "offset": 1}, "leave out offset"),
        ("drop", {"unit": "connection"}, "unit is for connections, and fault 'drop' works over"),
        ("truncate", {"offset": 1, "transport": "udp"}, "and transport is 'udp'"),
        ("accept-close", {"age": 1}, "strikes before any request: it has no age"),
        (
            "drop",
            {"reply": 0},
            "reply=0 is what a server sends first on a connection: UDP has none",
        ),
        ("slice", {"at": 1, "every": 2}, "fault 'slice' takes either at or every, not both"),
        ("reset", {"age": 1, "offset": 1}, "a fault at an age strikes at once: leave out offset"),
    ],
)
def test_what_is_refused(kind: str, options: dict[str, Any], error: str) -> None:
    with pytest.raises(FaultError, match=re.escape(error)):
        Fault.create(kind, **options)


def test_what_is_not_given_is_not_refused() -> None:
    """A selector that is None is left out, in any combination."""
    unset = dict.fromkeys(
        ("match", "reply_match", "reply", "request", "offset", "to", "unit", "age", "transport")
    )
    fault = Fault.create("reset", when="before", **unset)
    assert str(fault) == "reset when=before"
    assert fault.given == {"when"}


def test_content_comes_before_numbers() -> None:
    """Connections, requests and replies are counted among those that match."""
    by_request = Fault.create("reset", match="GET", request=2)
    by_reply = Fault.create("close", match="GET", reply=[2])
    by_connection = Fault.create("stall", match="GET", connection=2)
    faults = placed(by_request, by_reply, by_connection)
    for said, on in ((b"PUT", "x"), (b"GET 1", "a"), (b"PUT", "a"), (b"GET 2", "b")):
        faults.parts(request(said, on=on))
    assert [fault.selected for fault in (by_request, by_reply, by_connection)] == [1, 1, 1]
    assert by_request.counts.requests == 2


def test_several_replies_of_one_request_have_its_number() -> None:
    fault = Fault.create("reset", request=1, reply=[2, 3])
    faults = placed(fault)
    counted: dict[object, int] = {}
    seen = [strikes(faults, request(stage=Stage.REPLY, counted=counted)) for _ in range(4)]
    assert seen == [False, True, True, False]
    assert reason(fault) is MissReason.NO_REPLY


def test_what_a_server_says_first_is_reply_0_alone() -> None:
    zero, any_reply = Fault.create("reset", reply=0), Fault.create("close")
    first = placed(any_reply, zero).parts(request(number=0))
    assert [part.fault for part in first] == [zero]
    assert reason(any_reply) is MissReason.GREETING
    assert zero.selected == 1
    faults = placed(Fault.create("reset", reply=[0, 1]))
    assert [strikes(faults, request(number=n)) for n in (0, 1, 2)] == [True, True, False]
    assert Fault.create("drop", reply=1).reply == frozenset({1})


def test_what_a_server_says_first_can_be_matched_and_is_no_counted_reply() -> None:
    fault = Fault.create("reset", reply=0, reply_match="220")
    plan = placed(fault).plan(request(number=0))
    assert plan is not None
    assert plan.line(b"220 ready\n", final=True) == [End("reset")]
    assert fault.counts.replies == 0


def test_an_age_selects_requests_of_old_connections() -> None:
    fault = Fault.create("latency", seconds=1, age=5)
    faults = placed(fault)
    assert not strikes(faults, request(age=4.9))
    assert reason(fault) is MissReason.AGE
    assert strikes(faults, request(age=5))
    assert not fault.strikes_at_age


@pytest.mark.parametrize("kind", ["close", "reset", "half-close", "stall", "deaf", "garbage"])
def test_an_end_at_an_age_is_a_timer(kind: str) -> None:
    fault = Fault.create(kind, age=5)
    faults = placed(fault)
    assert fault.strikes_at_age
    assert not strikes(faults, request(age=9))
    young, old = (FaultTarget("tcp", "a", stage=Stage.AGE, age=age) for age in (4, 5))
    assert faults.strike_at_age(young, set()) is None
    assert faults.strike_at_age(old, set()) is fault
    assert fault.happened == 1


def test_a_timer_strikes_a_connection_once_and_leaves_it_to_the_next() -> None:
    deaf, reset = Fault.create("deaf", age=1), Fault.create("reset", age=2)
    faults = placed(reset, deaf)
    known: set[Fault] = set()

    def at(age: float) -> Fault | None:
        return faults.strike_at_age(FaultTarget("tcp", "a", stage=Stage.AGE, age=age), known)

    assert [at(1), at(1.5), at(2), at(3)] == [deaf, None, reset, None]
    assert (deaf.selected, reset.happened) == (1, 1)


def test_a_timer_counts_connections_as_they_are_accepted() -> None:
    fault = Fault.create("reset", age=1, connection=2)
    faults = placed(fault)
    for name in ("a", "b"):
        assert faults.strike_connection(FaultTarget("tcp", name, stage=Stage.CONNECTION)) is None
    faults.forget("a")
    assert faults.strike_at_age(FaultTarget("tcp", "b", stage=Stage.AGE, age=1), set()) is fault


def test_a_whole_connection_is_asked_about_once() -> None:
    fault = Fault.create("latency", seconds=1, unit="connection", connection=2)
    faults = placed(fault)
    for name, parts in (("a", 0), ("b", 1)):
        known: set[Fault] = set()
        target = FaultTarget("tcp", name, stage=Stage.CONNECTION, number=0)
        assert len(faults.parts_of_connection(target, known)) == parts
        assert faults.parts_of_connection(target, known) == []
    assert not strikes(faults, request())
    assert fault.selected == 1
    assert reason(fault) is MissReason.NO_REPLY


def test_a_whole_connection_that_a_used_up_fault_cannot_claim() -> None:
    fault = Fault.create("latency", seconds=1, unit="connection", times=1)
    faults = placed(fault)
    target = FaultTarget("tcp", "a", stage=Stage.CONNECTION, number=0)
    assert fault.claim()
    assert faults.parts_of_connection(target, set()) == []
    assert reason(fault) is MissReason.CLAIMED


def test_of_those_that_could_strike_a_connection_the_others_say_so() -> None:
    first, second = Fault.create("accept-close"), Fault.create("accept-close")
    faults = placed(first, second)
    target = FaultTarget("tcp", "a", stage=Stage.CONNECTION)
    assert faults.strike_connection(target) is first
    assert reason(second) is MissReason.CLAIMED
    assert (first.happened, second.happened) == (1, 0)


def test_a_whole_connection_that_is_too_young_is_asked_about_later() -> None:
    faults = placed(Fault.create("latency", seconds=1, unit="connection", age=5))
    known: set[Fault] = set()
    for age, parts in ((1, 0), (5, 1), (6, 0)):
        target = FaultTarget("tcp", "a", stage=Stage.CONNECTION, number=0, age=age)
        assert len(faults.parts_of_connection(target, known)) == parts


@pytest.mark.parametrize(
    ("options", "target", "why"),
    [
        ({}, request(), MissReason.BEGUN),
        ({"match": "GET"}, request(b"GET /"), MissReason.BEGUN),
        ({"match": "GET"}, request(b"PUT /"), MissReason.MATCH),
        ({"reply": 0}, request(), MissReason.REPLY),
        ({"reply": [0, 1]}, request(), MissReason.BEGUN),
        ({"reply": 0}, request(number=0), MissReason.BEGUN),
        ({}, request(number=0), MissReason.GREETING),
        ({"age": 5}, request(), None),
        ({"when": "before"}, request(stage=Stage.REPLY), None),
    ],
)
def test_why_it_does_not_strike_what_had_begun_before(
    options: dict[str, Any], target: FaultTarget, why: MissReason | None
) -> None:
    fault = Fault.create("reset", **options)
    placed(fault).note_begun(target)
    assert reason(fault) is why


@pytest.mark.parametrize(
    ("stage", "selected"),
    [(Stage.HANDSHAKE, [True, False]), (Stage.WHOLE, [False, True])],
)
def test_only_a_fault_of_handshakes_strikes_them(stage: Stage, selected: list[bool]) -> None:
    faults = (Fault.create("certificate", problem="expired"), Fault.create("reset"))
    assert [fault.selects(request(stage=stage)) for fault in faults] == selected


def test_requests_without_a_reply_are_counted_if_they_match() -> None:
    fault, timer = Fault.create("reset", request=2, match="GET"), Fault.create("reset", age=1)
    faults = placed(fault, timer)
    for said in (b"PUT 1", b"PUT 2", b"GET 1"):
        faults.count_unanswered(request(said))
    assert (fault.counts.requests, timer.counts.requests) == (1, 0)
    assert strikes(faults, request(b"GET 2"))


def test_as_text() -> None:
    fault = Fault.create(
        "reset", match=re.compile(r"^\d"), reply_match=b"\xff", reply=[3, 2], age=1.5, offset=4
    )
    assert str(fault) == (r"reset match=re:'^\d' reply_match=hex:ff age=1.5 offset=4 reply=2,3")
    assert str(Fault.create("stall", unit="connection", to="server")) == (
        "stall unit=connection to=server"
    )
